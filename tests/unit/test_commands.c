#include "../../src/master/commands.h"
#include "../../src/wire/message.h"
#include "unit.h"

#include <check.h>
#include <string.h>

static const struct {
    const char *words[4];
    const char *command; /* NULL: none */
    const char *error;   /* begins so */
} cases[] = {
    {{"ping"}, "ping", NULL},
    {{"status"}, "status", NULL},
    {{"status", "--brief"}, "status", NULL},
    {{"ping", "x"}, NULL, "usage: preforkctl ping\n"},
    {{"reload"}, "reload", NULL},
    {{"reload", "--dry-run"}, "reload", NULL},
    {{"reload", "--dry-run", "x"}, NULL, "usage: preforkctl reload [--dry-run]\n"},
    {{"scale"}, NULL, "usage: preforkctl scale POOL N\n"},
    {{"scale", "web"}, NULL, "usage: preforkctl scale POOL N\n"},
    {{"scale", "web", "3"}, "scale", NULL},
    {{"drain"}, "drain", NULL},
    {{"drain", "web"}, "drain", NULL},
    {{"Ping"}, NULL, "unknown command \"Ping\"; did you mean \"ping\"?"},
    {{"frobnicate"}, NULL, "unknown command \"frobnicate\"; \"help\""},
    {{""}, NULL, "unknown command \"\""},
    {{"--json"}, NULL, "unknown command \"\""},
};

START_TEST(words_are_found)
{
    struct message_request words = {0};
    while (words.count < 4 && cases[_i].words[words.count]) {
        words.words[words.count] = cases[_i].words[words.count];
        words.count++;
    }
    struct request request;
    request_init(&request, &words, 0, 0);
    request.json = false;
    const struct command *command = commands_by_request(&request);
    ck_assert_int_eq(command != NULL, cases[_i].command != NULL);
    if (command) {
        ck_assert_str_eq(command->word, cases[_i].command);
        ck_assert_uint_eq(request.errors.used, 0);
    } else {
        ck_assert_int_eq(request.status, MESSAGE_USAGE);
        ck_assert_uint_ge(request.errors.used, strlen(cases[_i].error));
        ck_assert_mem_eq(request.errors.at, cases[_i].error, strlen(cases[_i].error));
    }
    request_done(&request);
}
END_TEST

/* A command without a signal does not match signal 0, nor a signal without a command an empty word.
 * */
START_TEST(rows)
{
    sigset_t signals;
    commands_signals(&signals);
    ck_assert_ptr_null(commands_by_signal(SIGSEGV));
    ck_assert_str_eq(commands_by_signal(SIGHUP)->word, "reload");
    ck_assert(sigismember(&signals, SIGCHLD));
    for (const struct command *command = commands_table; command->word || command->signal;
         command++) {
        ck_assert(!command->word || usage_find(command->word));
        ck_assert_ptr_nonnull(commands_help(command));
        ck_assert(!command->signal || commands_by_signal(command->signal) == command);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("commands");
    tcase_add_loop_test(tests, words_are_found, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, rows);
    return unit_run("commands", tests);
}
