/* The dump, which loads as the same configuration; and the differences between configurations. */
#include "conf.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void set_up(void)
{
    conf_open();
    setenv("XDG_RUNTIME_DIR", "/run/user/me", true);
}

static void tear_down(void)
{
    conf_close();
}

/* The first line names the user, so that root can load it too. */
static struct config *load(const char *text)
{
    char whole[4096];
    snprintf(whole, sizeof whole, "user = \"%s\"\n%s", conf_self(), text);
    struct config *config = conf_load(whole);
    conf_expect(text, config, "");
    return config;
}

/* --- dump ---------------------------------------------------------------------------------- */

static const char *const dumped[] = {
    "pool a { listen = systemd:a workers = 1 echo {} }",
    "pool a { listen = unix:/a workers = 1 echo {} }\npool b { listen = '*:7' workers = 2 discard "
    "{} }",
    "control = none graceful_timeout = 0 log { level = err facility = mail ident = \"a \\\"b\\\"\" "
    "}\n"
    "pool a { listen = { 'unix:@a b', '[::1]:0' } workers = 1 echo {} socket_mode = 0 umask = 0 }",
    "pool a { listen = systemd:a workers = 1 exec { command = { \"/bin/sh\", \"-c\",\n"
    "\"$HOME ${HOME} \\\\ \\\" ' \\n \\t \\x01 \\x7f \\033 \xc3\xbc # // /* {\", '' } stderr = "
    "null } }",
    "pool a { listen = systemd:a workers = 1 echo {} environment = {}\n"
    "limits { nofile = 1K as = 16M core = unlimited nproc = 0 cpu = 1 } directory = \"/\" nice = "
    "19\n"
    "log_connections = yes max_requests = 5 keepalive = 0 idle_timeout = 1 ready_timeout = 1 }",
    "slow_threshold = 3 pool a { listen = systemd:a max_workers = 9 min_workers = 2 min_spare = 2\n"
    "max_spare = 3 spare_timeout = 5 request_timeout = 7 echo {} }\n"
    "pool b { listen = systemd:b slow_threshold = 0 max_workers = 9 min_workers = 0 echo {} }",
    "pool a { listen = { systemd:a, unix:/b } workers = 1 backlog = 7 exec { command = x } }",
    "pool a { listen = unix:/a workers = 1 echo {} allow = { '10.0.0.0/8', '::/0' } deny = '::1'\n"
    "max_per_source = 3 rate_per_source = 7 proxy_protocol = on proxy_from = { '10.0.0.1', unix } "
    "}",
    "pool a { listen = { systemd:a, '[::1]:7' } workers = 1 echo {} queue_timeout = 9 }",
    "pool a { listen = systemd:a max_workers = 2 echo {} model = thread threads = 3\n"
    "min_spare = 5 max_spare = 6 }",
    "pool a { listen = systemd:a workers = 2 echo {} model = event connections = 5000 }",
};

START_TEST(dump_reads_back)
{
    struct config *config = load(dumped[_i]);
    char *first = conf_dump(config);
    config_unref(config);
    config = conf_load(first);
    conf_expect(first, config, "");
    char *second = conf_dump(config);
    ck_assert_str_eq(first, second);
    config_unref(config);
    free(first);
    free(second);
}
END_TEST

START_TEST(dump_has_the_defaults)
{
    static const char *const lines[] = {
        "graceful_timeout = 30\n",  "    backlog = 4096\n",        "    socket_mode = 0660\n",
        "    keepalive = 60\n",     "    max_requests = 0\n",      "    graceful_timeout = 30\n",
        "    idle_timeout = 60\n",  "    ready_timeout = 30\n",    "    log_connections = false\n",
        "    max_per_source = 0\n", "    rate_per_source = 0\n",   "    proxy_protocol = \"off\"\n",
        "    proxy_timeout = 3\n",  "    umask = 022\n",           "    nice = 0\n",
        "    queue_timeout = 0\n",  "    request_timeout = 0\n",   "    directory = \"/\"\n",
        "    level = \"info\"\n",   "    facility = \"daemon\"\n", "    ident = \"preforkd\"\n",
    };
    struct config *config = load("pool a { listen = unix:/a workers = 1 echo {} }");
    char *dump = conf_dump(config);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        ck_assert_msg(strstr(dump, lines[i]) != NULL, "%s is not in\n%s", lines[i], dump);
    ck_assert(!strstr(dump, "limits") && !strstr(dump, "chroot"));
    free(dump);
    config_unref(config);
}
END_TEST

/* --- compare ------------------------------------------------------------------------------- */

#define ONE "workers = 1 echo {} "

/* The pool's section, besides its listeners. */
/* clang-format off: it would align the columns far beyond the line */
static const struct {
    const char *old, *new;
    enum pool_change change;
    const char *what;
} changes[] = {
    {ONE, "umask = 22 keepalive = 60 workers = 1 echo {}", POOL_KEPT, ""},
    {"workers = 4 echo {}", "workers = 8 echo {}", POOL_RESIZED, "4 to 8"},
    {ONE, ONE "backlog = 7", POOL_ADJUSTED, "backlog 4096 to 7"},
    {ONE, ONE "model = process", POOL_KEPT, ""},
    {ONE "model = event", ONE "model = event request_timeout = 5", POOL_REPLACED,
     "request_timeout 0 to 5"},
    {ONE "model = event", ONE "model = event slow_threshold = 5", POOL_ADJUSTED,
     "slow_threshold 0 to 5"},
    {ONE, ONE "model = event connections = 7", POOL_REPLACED, "model process to event and 1 more"},
    {ONE "model = thread", ONE "model = thread threads = 17", POOL_REPLACED, "threads 16 to 17"},
    {"max_workers = 9 echo {}", "max_workers = 64 min_workers = 1 echo {}", POOL_RESIZED,
     "max_workers 9 to 64"},
    {"max_workers = 9 echo {}", "max_workers = 9 min_spare = 2 max_spare = 3 echo {}", POOL_RESIZED,
     "min_spare 1 to 2 and 1 more"},
    {"max_workers = 9 echo {}", "max_workers = 9 spare_timeout = 1 echo {}", POOL_ADJUSTED,
     "spare_timeout 10 to 1"},
    {"workers = 9 echo {}", "max_workers = 9 spare_timeout = 1 min_spare = 3 echo {}", POOL_RESIZED,
     "9 to 1...9"},
    {"max_workers = 9 min_workers = 0 echo {}", "workers = 9 echo {} backlog = 7", POOL_RESIZED,
     "0...9 to 9 and 1 more"},
    {ONE, ONE "request_timeout = 5", POOL_ADJUSTED, "request_timeout 0 to 5"},
    {ONE, ONE "slow_threshold = 5", POOL_ADJUSTED, "slow_threshold 0 to 5"},
    {ONE, ONE "socket_mode = 0600", POOL_ADJUSTED, "socket_mode 0660 to 0600"},
    {ONE, ONE "graceful_timeout = 7", POOL_ADJUSTED, "graceful_timeout 30 to 7"},
    {ONE, ONE "keepalive = 0 ready_timeout = 1", POOL_ADJUSTED, "keepalive 60 to 0 and 1 more"},
    {ONE, "workers = 2 echo {} backlog = 7", POOL_RESIZED, "1 to 2 and 1 more"},
    {ONE, "workers = 2 echo {} umask = 077 backlog = 7", POOL_REPLACED,
     "umask 022 to 077 and 2 more"},
    {ONE, ONE "idle_timeout = 5", POOL_REPLACED, "idle_timeout 60 to 5"},
    {ONE, ONE "max_requests = 5", POOL_REPLACED, "max_requests 0 to 5"},
    {ONE, ONE "allow = '10.0.0.0/8'", POOL_REPLACED, "allow changed"},
    {ONE "deny = { '10.0.0.1', '::1' }", ONE "deny = { '10.0.0.1', '::1' }", POOL_KEPT, ""},
    {ONE, ONE "max_per_source = 5", POOL_REPLACED, "max_per_source 0 to 5"},
    {ONE "queue_timeout = 0", ONE, POOL_KEPT, ""},
    {ONE, ONE "proxy_protocol = on proxy_from = { '10.0.0.1', unix }", POOL_REPLACED,
     "proxy_protocol off to on and 1 more"},
    {ONE, ONE "environment = { 'A=b' }", POOL_REPLACED, "environment changed"},
    {ONE, ONE "directory = \"/tmp\"", POOL_REPLACED, "directory / to /tmp"},
    {ONE "log_connections = on", ONE, POOL_REPLACED, "log_connections true to false"},
    {ONE "limits { core = 0 }", ONE "limits { core = unlimited }", POOL_REPLACED,
     "core 0 to unlimited"},
    {ONE, ONE "limits { cpu = 1 }", POOL_REPLACED, "cpu none to 1"},
    {ONE, "workers = 1 exec { command = x }", POOL_REPLACED, "handler echo to exec"},
    {"workers = 1 exec { command = x }", "workers = 1 exec { command = { x, y } }", POOL_REPLACED,
     "command changed"},
    {"workers = 1 exec { command = x }", "workers = 1 exec { command = x stderr = null }",
     POOL_ADJUSTED, "stderr log to null"},
};
/* clang-format on */

static struct config *load_pool(const char *body, const char *listen)
{
    char text[1024];
    snprintf(text, sizeof text, "pool a { listen = %s %s }", listen, body);
    return load(text);
}

static void check_change(struct config *old, struct config *new, enum pool_change change,
                         const char *expected)
{
    char what[200];
    ck_assert_int_eq(config_compare(old->pools[0], new->pools[0], what, sizeof what), change);
    ck_assert_str_eq(what, expected);
    config_unref(old);
    config_unref(new);
}

START_TEST(what_changed)
{
    check_change(load_pool(changes[_i].old, "unix:/a"),
                 load_pool(changes[_i].new, "{\n'unix:/a' # the same\n}"), changes[_i].change,
                 changes[_i].what);
}
END_TEST

START_TEST(addresses_changed)
{
    check_change(load_pool(ONE, "unix:/a"), load_pool(ONE, "{ unix:/a, unix:/b }"), POOL_REPLACED,
                 "listen changed");
}
END_TEST

START_TEST(global_options_changed)
{
    check_change(load("pool a { listen = unix:/a " ONE "}"),
                 load("graceful_timeout = 7 control = none pool a { listen = unix:/a " ONE "}"),
                 POOL_ADJUSTED, "graceful_timeout 30 to 7");
}
END_TEST

/* By effective values: a pool without a user has the global one. */
START_TEST(user_changed)
{
    char what[200];
    static const char pool[] = "pool a { listen = systemd:a workers = 1 echo {} %s}";
    char text[3][200];
    if (geteuid() != 0)
        return;
    for (int i = 0; i < 3; i++) {
        static const char *const heads[] = {"user = root ", "user = nobody ", ""};
        strcpy(text[i], heads[i]);
        snprintf(text[i] + strlen(text[i]), 150, pool, i == 2 ? "user = nobody " : "");
    }
    struct config *root = conf_load(text[0]), *nobody = conf_load(text[1]),
                  *own = conf_load(text[2]);
    ck_assert_int_eq(config_compare(root->pools[0], nobody->pools[0], what, sizeof what),
                     POOL_REPLACED);
    ck_assert_str_eq(what, "user root to nobody");
    ck_assert_int_eq(config_compare(nobody->pools[0], own->pools[0], what, sizeof what), POOL_KEPT);
    config_unref(root);
    config_unref(nobody);
    config_unref(own);
}
END_TEST

/* A name's meaning changed in the system, the files did not. */
START_TEST(lookups_changed)
{
    char what[200];
    struct config *config = load("pool a { listen = 'two.test:80' workers = 1 echo {} }");
    struct pool_config old = *config->pools[0], new = old;
    struct listen_spec swapped[] = {old.listens[1], old.listens[0]};
    gid_t groups[] = {1, 2, 3};
    new.listens = swapped;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_KEPT);
    struct listen_spec other[] = {old.listens[0], old.listens[1]};
    other[1].addr.in6.sin6_port = htons(81);
    new.listens = other;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    other[1] = old.listens[1];
    other[1].any_family = true;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    new.listens = swapped;
    new.listen_count = 1;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    ck_assert_str_eq(what, "the addresses that listen stands for changed");
    new = old;
    new.identity.groups = groups;
    new.identity.group_count = old.identity.group_count == 3 ? 2 : 3;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    ck_assert(strstr(what, "the entry of user") != NULL);
    new = old;
    new.socket_uid++;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_ADJUSTED);
    ck_assert_str_eq(what, "the owner of its sockets changed");
    config_unref(config);
}
END_TEST

/* Options that a worker keeps from its start, whatever later ones get. */
START_TEST(kept_option_changed)
{
    static const char *const kept[] = {"graceful_timeout", NULL};
    char what[200];
    struct config *config = load("pool a { listen = systemd:a workers = 1 echo {} }");
    struct handler_section handler = *config->pools[0]->handler;
    struct pool_config old = *config->pools[0], new = old;
    new.graceful_timeout++;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_ADJUSTED);
    handler.not_live = kept;
    old.handler = new.handler = &handler;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    new = old;
    new.backlog++;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_ADJUSTED);
    config_unref(config);
}
END_TEST

START_TEST(loaded_file_changed)
{
    char what[200];
    struct config *config = load("pool a { listen = systemd:a workers = 1 echo {} }");
    struct pool_config old = *config->pools[0], new;
    old.file = "/m.so";
    old.file_id = (struct file_id){1, 2, 3, {4, 5}};
    const struct file_id others[] = {{9, 2, 3, {4, 5}},
                                     {1, 9, 3, {4, 5}},
                                     {1, 2, 9, {4, 5}},
                                     {1, 2, 3, {9, 5}},
                                     {1, 2, 3, {4, 9}}};
    new = old;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_KEPT);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
        new.file_id = others[i];
        ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
        ck_assert_str_eq(what, "echo /m.so changed");
    }
    config_unref(config);
}
END_TEST

START_TEST(long_values_are_cut)
{
    char what[40], path[2000];
    struct config *config = load("pool a { listen = systemd:a workers = 1 echo {} }");
    struct pool_config old = *config->pools[0], new = old;
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    new.directory = path;
    ck_assert_int_eq(config_compare(&old, &new, what, sizeof what), POOL_REPLACED);
    ck_assert(strncmp(what, "directory / to xxxx", 19) == 0);
    config_unref(config);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("compare");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, dump_reads_back, 0, sizeof dumped / sizeof *dumped);
    tcase_add_test(tests, dump_has_the_defaults);
    tcase_add_loop_test(tests, what_changed, 0, sizeof changes / sizeof *changes);
    tcase_add_test(tests, addresses_changed);
    tcase_add_test(tests, global_options_changed);
    tcase_add_test(tests, user_changed);
    tcase_add_test(tests, lookups_changed);
    tcase_add_test(tests, kept_option_changed);
    tcase_add_test(tests, loaded_file_changed);
    tcase_add_test(tests, long_values_are_cut);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("compare", tests);
}
