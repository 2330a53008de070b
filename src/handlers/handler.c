#include "handler.h"

#include <stddef.h>

const struct handler_section *const handler_sections[] = {
    &handler_echo.section,   &handler_discard.section, &handler_daytime.section,
    &handler_time.section,   &handler_chargen.section, &handler_exec.section,
    &handler_module.section, &handler_cgi.section,     &handler_app.section,
    &handler_status.section, &handler_agent.section,   NULL,
};
