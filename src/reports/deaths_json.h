/*
 * deaths_json - the ledger as JSON, alone or within a status.
 *
 * Called by: status_json. Not there if the build has no jansson.
 * Runs in:   any process that has the overview mapped, be it for reading alone.
 */
#ifndef PREFORKD_REPORTS_DEATHS_JSON_H
#define PREFORKD_REPORTS_DEATHS_JSON_H

#include "../board/overview.h"

#include <jansson.h>

/* The oldest first; NULL: no memory. */
json_t *deaths_array(const struct overview *overview);

#endif
