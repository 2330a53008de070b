/* Each pool option with each handler: an option that the handler can't honour is refused, and is in
 * no dump. The list below is the contract: a new handler that honours less, or a new option with a
 * scope, fails here until it is listed. */
#include "../../src/config/rules.h"
#include "../../src/handlers/handler.h"
#include "conf.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *handler, *refused;
} contract[] = {
    {"app", " allow deny max_per_source rate_per_source proxy_protocol proxy_from proxy_timeout"
            " max_requests request_timeout idle_timeout log_connections max_spare slow_threshold"
            " queue_timeout "},
    {"exec", " idle_timeout "},
};

static bool is_refused(const struct handler_section *handler, const char *option)
{
    char word[64];
    snprintf(word, sizeof word, " %s ", option);
    for (unsigned i = 0; i < sizeof contract / sizeof *contract; i++)
        if (strcmp(contract[i].handler, handler->name) == 0)
            return strstr(contract[i].refused, word) != NULL;
    return false;
}

static struct config *load(const struct handler_section *handler, const char *option)
{
    char text[200];
    struct config *config = config_new();
    ck_assert_ptr_nonnull(config);
    snprintf(text, sizeof text, "pool a { %s = 1 %s { } }\n", option, handler->name);
    conf_write("t.conf", text);
    config_load(config, "t.conf", handler_sections);
    return config;
}

START_TEST(every_option_with_every_handler)
{
    const struct handler_section *handler = handler_sections[_i];
    ck_assert(handler_of(handler)->serve || !(handler->scopes & SCOPE_CONNECTIONS));
    for (const struct option_row *row = pool_rows; row->name; row++) {
        char fault[200];
        struct config *config = load(handler, row->name);
        bool refused = is_refused(handler, row->name);
        char *faults = conf_faults(config);
        snprintf(fault, sizeof fault, "1: pool a: the handler %s takes no %s: its program ",
                 handler->name, row->name);
        ck_assert_msg((strstr(faults, fault) != NULL) == refused, "%s with %s\n%s", row->name,
                      handler->name, faults);
        if (refused)
            ck_assert(!rules_pool_takes(config->pools[0], row));
        free(faults);
        config_unref(config);
    }
}
END_TEST

/* The pool options that a handler names must exist, and be those that it honours. */
START_TEST(names_that_a_handler_gives)
{
    const struct handler_section *handler = handler_sections[_i];
    for (const struct option_default *each = handler->defaults; each && each->name; each++) {
        int index = option_find(pool_rows, each->name);
        ck_assert_msg(index >= 0 && option_is_honoured(&pool_rows[index], handler), "%s: %s",
                      handler->name, each->name);
    }
    for (const char *const *name = handler->not_live; name && *name; name++) {
        int index = option_find(pool_rows, *name);
        ck_assert_msg(index >= 0 && pool_rows[index].flags & OPTION_LIVE &&
                          option_is_honoured(&pool_rows[index], handler),
                      "%s: %s", handler->name, *name);
    }
}
END_TEST

/* Handlers that run in any model; a module says so itself. */
static const char anywhere[] = " echo discard daytime time chargen module ";

START_TEST(every_model_with_every_handler)
{
    const struct handler_section *handler = handler_sections[_i];
    char word[64];
    snprintf(word, sizeof word, " %s ", handler->name);
    bool possible = strstr(anywhere, word) != NULL;
    for (int model = 0; model < SERVE_MODELS; model++) {
        char text[200], fault[400];
        struct config *config = config_new();
        ck_assert_ptr_nonnull(config);
        snprintf(text, sizeof text, "pool a {\nmodel = %s\n%s { } }\n", serve_model_words[model],
                 handler->name);
        conf_write("t.conf", text);
        config_load(config, "t.conf", handler_sections);
        char *faults = conf_faults(config);
        snprintf(fault, sizeof fault,
                 "2: pool a: the handler %s doesn't support model = \"%s\", only \"process\": %s",
                 handler->name, serve_model_words[model],
                 handler->process_only ? handler->process_only : "");
        ck_assert_msg((strstr(faults, fault) != NULL) == (model != MODEL_PROCESS && !possible),
                      "%s with %s\n%s", serve_model_words[model], handler->name, faults);
        ck_assert_msg(possible == !handler->process_only, "%s", handler->name);
        free(faults);
        config_unref(config);
    }
}
END_TEST

int main(void)
{
    int count = 0;
    while (handler_sections[count])
        count++;
    TCase *tests = tcase_create("honoured");
    tcase_add_checked_fixture(tests, conf_open, conf_close);
    tcase_add_loop_test(tests, every_option_with_every_handler, 0, count);
    tcase_add_loop_test(tests, names_that_a_handler_gives, 0, count);
    tcase_add_loop_test(tests, every_model_with_every_handler, 0, count);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("honoured", tests);
}
