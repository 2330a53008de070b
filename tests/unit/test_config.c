/* What a file may contain: every fault with its line, all in one run; and the resulting values. */
#include "conf.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

/* @ stands for the user who runs the test; GOOD is a complete pool. */
#define ME   "user = \"@\" "
#define GOOD "pool ok { listen = \"127.0.0.1:7\" workers = 1 echo {} }\n"

static void set_up(void)
{
    conf_open();
}

static void tear_down(void)
{
    conf_close();
}

/* Loads a text with @ replaced by the user. */
static struct config *load(const char *text)
{
    static char whole[128 * 1024];
    char *to = whole;
    for (; *text; text++)
        if (*text == '@')
            to = stpcpy(to, conf_self());
        else
            *to++ = *text;
    *to = '\0';
    return conf_load(whole);
}

/* Pools are named by their names, faults by what is wrong. */
/* clang-format off: it would align the columns far beyond the line */
static const struct {
    const char *text, *expected;
} wrong[] = {
    /* unknown */
    {ME "\nwrokers = 3\n" GOOD, "2: unknown option \"wrokers\""},
    {ME "\npool a { listen = systemd:x\nworkers = 1\nwrokers = 3\necho {} }",
     "4: pool a: unknown option \"wrokers\"; did you mean \"workers\"?"},
    {ME GOOD "graceful_timout = 3", "2: unknown option \"graceful_timout\"; did you mean "
                                    "\"graceful_timeout\"?"},
    {ME GOOD "workers = 3", "2: unknown option \"workers\" here; it belongs in a pool"},
    {ME GOOD "echo { }", "2: unknown section \"echo\" here; it belongs in a pool"},
    {ME GOOD "xyzzy { a = 1 b = 2 }", "2: unknown section \"xyzzy\""},
    {ME GOOD "Workers = 3", "2: unknown option \"Workers\""},
    {ME GOOD "log { levle = info }", "2: log: unknown option \"levle\"; did you mean \"level\"?"},
    {ME GOOD "include = x", "2: include is written include(\"PATTERN\")"},
    {ME GOOD "a = 1\nb = 2\nc { d = 3 }\ne = 4",
     "2: unknown option \"a\"\n3: unknown option \"b\"\n4: unknown section \"c\"\n5: unknown "
     "option \"e\""},
    {ME "pool a { listen = systemd:x workers = 1 ecoh {} }",
     "1: pool a: unknown section \"ecoh\"; did you mean \"echo\"?"},
    {ME "pool a { listen = systemd:x workers = 1 echo {\n x = 1 } }",
     "2: pool a: echo: unknown option \"x\""},
    {ME "pool a { listen = systemd:x workers = 1 echo {\n workers = 1 } }",
     "2: pool a: echo: unknown option \"workers\" here; it belongs in the pool itself"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\n nofile = 99 }",
     "2: pool a: unknown option \"nofile\" here; it belongs in limits"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\n limits { nofiles = 99 } }",
     "2: pool a: limits: unknown option \"nofiles\"; did you mean \"nofile\"?"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\n pool b { workers = 2 } }",
     "2: pool a: unknown section \"pool\" here; it belongs outside of all pools"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\n models = event }",
     "2: unknown option \"models\""},

    /* doubled */
    {ME GOOD "\nuser = \"@\"", "3: option \"user\" is doubled; the first is in line 1"},
    {ME GOOD "log { level = info level = debug }", "2: log: option \"level\" is doubled"},
    {ME GOOD "log { }\nlog { levl = info }",
     "3: section \"log\" is doubled; the first is in line 2\n3: log: unknown option \"levl\""},
    {ME GOOD "pool ok { listen = \"127.0.0.1:7\" workers = x echo {} }",
     "2: pool ok: workers takes a number\n2: pool ok: a pool of this name stands at t.conf:1"},
    {ME "pool a { listen = systemd:x workers = 1\nworkers += 2 echo {} }",
     "2: pool a: option \"workers\" is doubled; the first is in line 1"},
    {ME "pool a { listen = systemd:x\nlisten += systemd:y workers = 1 echo {} }",
     "2: pool a: option \"listen\" is doubled"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\necho {} }",
     "2: pool a: section \"echo\" is doubled; the first is in line 1"},
    {ME "pool a { listen = systemd:x workers = 1 echo {}\nlimits {} limits {} }",
     "2: pool a: section \"limits\" is doubled"},

    /* the wrong kind */
    {ME GOOD "log = info", "2: log is a section: log { ... }"},
    {ME GOOD "pool = x", "2: pool is a section"},
    {ME GOOD "control { }", "2: control is an option: control = ..."},
    {ME GOOD "log \"x\" { }", "2: log takes no name before its {"},
    {ME GOOD "control = { none }", "2: control takes one value, not a list"},
    {ME "pool a { listen = systemd:x\nworkers = { 1, 2 } echo {} }",
     "2: pool a: workers takes one value, not a list"},
    {ME "pool a { listen = systemd:x workers = 1 echo = {} }", "1: pool a: echo is a section"},
    {ME "pool a { listen = systemd:x workers = 1 echo x {} }", "1: pool a: echo takes no name"},
    {ME "pool a { listen = systemd:x workers {} echo {} }",
     "1: pool a: workers is an option\n1: pool a: its size is missing"},

    /* values: wrong type, out of range */
    {ME "pool a { listen = systemd:x\nworkers = 0\nkeepalive = -1\nidle_timeout = 0\numask = 999\n"
        "nice = 20\nlog_connections = 2\nmax_requests = 1e3\nready_timeout = 5s\n"
        "graceful_timeout = \"\"\nlimits { nofile = 3\n core = 1X } echo {} }",
     "2: pool a: workers takes a number from 1 to 30000, not \"0\"\n3: pool a: keepalive takes\n"
     "4: pool a: idle_timeout takes a number of seconds from 1 to\n5: pool a: umask takes an "
     "octal\n"
     "6: pool a: nice takes a number from -20 to 19\n7: pool a: log_connections takes true or "
     "false\n"
     "8: pool a: max_requests takes\n9: pool a: ready_timeout takes\n10: pool a: graceful_timeout "
     "is empty\n11: pool a: limits: nofile takes\n12: pool a: limits: core takes"},
    {ME "pool a { listen = unix:/x\nbacklog = 0 socket_mode = 1000 workers = 1 echo {} }",
     "2: pool a: backlog takes\n2: pool a: socket_mode takes"},
    {ME GOOD "graceful_timeout = -1\nlog { level = loud\nfacility = kern ident = \"\" }",
     "2: graceful_timeout takes\n3: log: level takes err, warning, notice, info or debug, not "
     "\"loud\"\n4: log: facility takes\n4: log: ident is empty"},
    {ME "pool a { listen = systemd:x workers = 1\nexec { command = {}\nstderr = file } }",
     "2: pool a: exec: command is empty; it takes a list\n3: pool a: exec: stderr takes log, "
     "socket or null"},

    /* missing */
    {"", "1: there is no pool"},
    {ME "\n# nothing\nlog {}", "1: there is no pool"},
    {ME "\n\npool a { }",
     "3: pool a: the option \"listen\" is missing\n3: pool a: no section names "
     "the handler; known are echo, discard, exec\n3: pool a: its size is "
     "missing: workers, or max_workers"},
    {ME "pool a { listen = systemd:x workers = 1\n\n exec { } }",
     "3: pool a: exec: the option \"command\" is missing"},
    {ME "pool a { listen = {}\nworkers = 1 echo {} }",
     "1: pool a: listen is empty; it takes a list"},
    {ME "pool { listen = systemd:x workers = 1 echo {} }", "1: a pool needs a name"},
    {ME "pool \"\" { listen = systemd:x workers = 1 echo {} }", "1: a pool needs a name"},
    {ME "pool \"a b\" { listen = systemd:x workers = 1 echo {} }", "1: the name of a pool has"},
    {ME "pool abcdefghijklmnopqrstuvwxyz0123456 { listen = systemd:x workers = 1 echo {} }",
     "1: the name of a pool has 1 to 32"},

    /* handlers */
    {ME "pool a { listen = systemd:x workers = 1 echo {}\n discard {} }",
     "2: pool a: discard: a second handler: this pool has echo in line 1"},
    {ME "pool a { listen = systemd:x workers = 1\nidle_timeout = 3\nexec { command = x } }",
     "2: pool a: the handler exec takes no idle_timeout"},

    /* broken syntax, and options before it */
    {ME "wrokers = 1\n" GOOD "pool b { listen = systemd:x\nlistne = y\n",
     "1: unknown option \"wrokers\"\n3: the section opened here is not closed\n4: pool b: unknown "
     "option \"listne\"; did you mean \"listen\"?"},
    {ME GOOD "pool b {\npool c { listen = systemd:x workers = 1 echo {} }\n",
     "2: the section opened here is not closed"},
    {ME "pool b { workers = x\n listen = {", "1: pool b: workers takes\n2: the list opened here"},
    {ME "a = 1 ;", "1: unexpected \";\"\n1: unknown option \"a\""},
    {"user = \"nosuchuserhere\" = 3", "1: unexpected \"=\"\n1: user: there is no user"},

    /* odd characters spoil a value: no other fault is reported for it */
    {"user = \"a\x01\"\n" GOOD, "1: control character (\\x01)"},
    {"user = \"\\0\"\n" GOOD, "1: \\0 is a NUL"},
    {"us\x01"
     "er = \"@\"\n" GOOD,
     "1: control character (\\x01)"},
};
/* clang-format on */

START_TEST(faults_and_their_lines)
{
    struct config *config = load(wrong[_i].text);
    conf_expect(wrong[_i].text, config, wrong[_i].expected);
    config_unref(config);
}
END_TEST

/* libconfuse 3.3 itself would lose the line, accept it, or stop. */
/* clang-format off: it would align the columns far beyond the line */
static const struct {
    const char *text, *expected;
} traps[] = {
    {ME "\n# one\n# two\n// three\n/* four\nfive */ # six\n" GOOD "foo = 1", "8: unknown option"},
    {ME GOOD
     "pool a { listen = { systemd:x, # comment\n systemd:y /* too */ } workers = 1 echo {} }",
     ""},
    {ME GOOD "pool a { listen = systemd:x workers = 1 echo {}", "2: the section opened here"},
    {ME GOOD "/* open\nfoo = 1", "2: the comment opened here"},
    {ME GOOD "foo = 1\nbar = 2", "2: unknown option \"foo\"\n3: unknown option \"bar\""},
    {ME "control = none control = none " GOOD, "1: option \"control\" is doubled"},
    {ME GOOD "} }", "2: this } closes nothing"},
    {ME GOOD "* foo = 1", "2: unexpected \"*\""},
    {ME GOOD "; control = none", "2: unexpected \";\""},
    {ME "pool a { listen = *:0 workers = 1 echo {} }", ""},
    {ME "control = \"/tmp/\\400\" " GOOD, "1: unknown escape \\400"},
    {ME "log { ident = 'x\n' }" GOOD, "1: log: ident holds a control character"},
};
/* clang-format on */

START_TEST(traps_of_libconfuse)
{
    struct config *config = load(traps[_i].text);
    conf_expect(traps[_i].text, config, traps[_i].expected);
    config_unref(config);
}
END_TEST

START_TEST(text_is_text)
{
    setenv("PREFORKD_TEST", "expanded", true);
    struct config *config = load(
        ME "pool a { listen = systemd:x workers = 1 exec { command = { \"/bin/sh\", '-c',\n"
           "\"echo ${PREFORKD_TEST} $PREFORKD_TEST \\${PREFORKD_TEST} \\\"q\\\" \\\\\\n\\x41\", "
           "'${PREFORKD_TEST} \\n', a$b, c\\d, \"two\nlines\" } } }");
    conf_expect("text", config, "");
    const struct conf_exec *exec = config->pools[0]->handler_config;
    ck_assert_int_eq(exec->command.count, 7);
    ck_assert_str_eq(exec->command.at[2],
                     "echo ${PREFORKD_TEST} $PREFORKD_TEST ${PREFORKD_TEST} \"q\" \\\nA");
    ck_assert_str_eq(exec->command.at[3], "${PREFORKD_TEST} \\n");
    ck_assert_str_eq(exec->command.at[4], "a$b");
    ck_assert_str_eq(exec->command.at[5], "c\\d");
    ck_assert_str_eq(exec->command.at[6], "two\nlines");
    config_unref(config);
}
END_TEST

START_TEST(defaults_and_values)
{
    struct config *config =
        load(ME "log { level = debug facility = local7 }\ngraceful_timeout = 7\n"
                "pool a { listen = 127.0.0.1:7\nworkers = 3 echo {} }\n"
                "pool \"b.c-D_9\" { listen = { '127.0.0.1:8', \"[::1]:8\" } workers = 4\n"
                "graceful_timeout = 0 umask = 077 log_connections = on limits { as = 1G\ncpu = "
                "unlimited } nice = 5 environment = { 'A=b' } discard {} }");
    conf_expect("values", config, "");
    ck_assert_int_eq(config->pool_count, 2);
    ck_assert_int_eq(config->log.level, LOG_DEBUG);
    ck_assert_int_eq(config->log.facility, LOG_LOCAL7);
    ck_assert_str_eq(config->log.ident, "preforkd");
    const struct pool_config *a = config->pools[0], *b = config->pools[1];
    ck_assert_str_eq(a->name, "a");
    ck_assert_int_eq(a->origin.line, 3);
    ck_assert_int_eq(a->handler_origin.line, 4);
    ck_assert(a->workers == 3 && a->backlog == 4096 && a->socket_mode == 0660);
    ck_assert(a->keepalive == 60 && a->max_requests == 0 && a->graceful_timeout == 7);
    ck_assert(a->idle_timeout == 60 && a->ready_timeout == 30 && !a->log_connections);
    ck_assert(a->umask == 022 && a->nice == 0 && !a->chroot && a->environment.count == 0);
    for (int i = 0; i < LIMIT_KINDS; i++)
        ck_assert(a->limits.value[i] == OPTION_UNSET);
    ck_assert_str_eq(b->name, "b.c-D_9");
    ck_assert(b->graceful_timeout == 0 && b->umask == 077 && b->log_connections && b->nice == 5);
    ck_assert(b->limits.value[LIMIT_AS] == 1 << 30);
    ck_assert(b->limits.value[LIMIT_CPU] == OPTION_UNLIMITED);
    ck_assert(b->listen_count == 2 && b->workers == 4 && strcmp(b->environment.at[0], "A=b") == 0);
    ck_assert_str_eq(b->handler->name, "discard");
    config_unref(config);
}
END_TEST

START_TEST(options_of_included_files)
{
    char text[200];
    conf_write("a.conf", "\ncontrol = none\nlog { level = info }\n" GOOD);
    conf_write("b.conf", "control = none log {\n}\nfoo = 1\n");
    conf_write("c.conf", "control_group = \"no such group\"\n" GOOD);
    snprintf(text, sizeof text, "user = \"%s\" include(\"?.conf\")\nbar = 1\n", conf_self());
    struct config *config = conf_load(text);
    /* t.conf matches too: not, its name has two letters before the dot */
    conf_expect("included", config,
                "1: include: t.conf includes itself\n2: unknown option \"bar\"\n"
                "b.conf:1: option \"control\" is doubled; the first is at a.conf:2\n"
                "b.conf:1: section \"log\" is doubled; the first is at a.conf:3\n"
                "b.conf:3: unknown option \"foo\"\n"
                "c.conf:1: control_group: there is no group\n"
                "c.conf:2: pool ok: a pool of this name stands at a.conf:4 already");
    config_unref(config);
}
END_TEST

START_TEST(fifty_files)
{
    char name[32], text[200];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "p%02d.pool", i);
        snprintf(text, sizeof text,
                 "# a comment\npool p%02d { listen = \"127.0.0.1:%d\" workers = 1 echo {} }", i,
                 1000 + i);
        conf_write(name, text);
    }
    struct config *config = load(ME "include(\"*.pool\")\n" GOOD);
    conf_expect("fifty", config, "");
    ck_assert_int_eq(config->pool_count, 51);
    ck_assert_str_eq(config->pools[0]->name, "ok");
    ck_assert_str_eq(config->pools[50]->name, "p49");
    ck_assert_str_eq(config->pools[50]->origin.file, "p49.pool");
    ck_assert_int_eq(config->pools[50]->origin.line, 2);
    config_unref(config);
}
END_TEST

START_TEST(pools_are_bounded)
{
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);
    fprintf(out, "user = \"%s\"\n", conf_self());
    for (int i = 0; i < POOLS_MAX + 2; i++)
        fprintf(out, "pool p%d { listen = unix:/p%d workers = 1 echo {} }\n", i, i);
    fclose(out);
    struct config *config = conf_load(text);
    conf_expect("pools", config, "258: 2 pools too many: at most 256");
    free(text);
    config_unref(config);
}
END_TEST

START_TEST(many_faults_are_counted)
{
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < 1000; i++)
        fprintf(out, "unknown%d = 1\n", i);
    fclose(out);
    struct config *config = conf_load(text);
    ck_assert_uint_ge(config->faults.count, 1000);
    ck_assert_int_eq(config->faults.first->line, 1);
    free(text);
    config_unref(config);
}
END_TEST

/* libconfuse keeps its lexer between files: a refused file must not affect later ones. */
START_TEST(good_after_refused)
{
    static const char *const refused[] = {"user = \"",
                                          "/*",
                                          "pool x {",
                                          "a = {",
                                          "a = \"\\400\"",
                                          "include(\"none\")",
                                          "}",
                                          "log { level = { x } }"};
    for (int i = 0; i < 40; i++) {
        struct config *config = load(refused[i % 8]);
        ck_assert_uint_ge(config->faults.count, 1);
        config_unref(config);
    }
    struct config *config = load(ME GOOD);
    conf_expect("good", config, "");
    config_unref(config);
}
END_TEST

START_TEST(references_are_counted)
{
    struct config *config = load(ME GOOD);
    config_ref(config);
    config_unref(config);
    ck_assert_str_eq(config->pools[0]->name, "ok");
    config_unref(config);
    config_unref(NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, faults_and_their_lines, 0, sizeof wrong / sizeof *wrong);
    tcase_add_loop_test(tests, traps_of_libconfuse, 0, sizeof traps / sizeof *traps);
    tcase_add_test(tests, text_is_text);
    tcase_add_test(tests, defaults_and_values);
    tcase_add_test(tests, options_of_included_files);
    tcase_add_test(tests, fifty_files);
    tcase_add_test(tests, pools_are_bounded);
    tcase_add_test(tests, many_faults_are_counted);
    tcase_add_test(tests, good_after_refused);
    tcase_add_test(tests, references_are_counted);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("config", tests);
}
