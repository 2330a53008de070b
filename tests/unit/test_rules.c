/* How options depend on one another and on the system; as root, and as another user. */
#include "conf.h"
#include "unit.h"

#include <check.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* A user and a group that every system has. */
#define NOBODY   "user = \"nobody\" "
#define TEST_UID 54321 /* a uid that no system has */

/* The limit of open files that the rules assume; 0: the system's. Raising it takes a privilege that
 * root may lack. */
static rlim_t open_files;

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
    if (resource != RLIMIT_NOFILE || !open_files)
        return (int)syscall(SYS_prlimit64, 0, resource, NULL, limit);
    *limit = (struct rlimit){open_files, open_files};
    return 0;
}

static void set_up(void)
{
    open_files = 0;
    conf_open();
    unsetenv("XDG_RUNTIME_DIR");
}

static void tear_down(void)
{
    conf_close();
}

struct rule {
    const char *text, *expected;
};

static void check_rule(const struct rule *rule)
{
    struct config *config = conf_load(rule->text);
    conf_expect(rule->text, config, rule->expected);
    config_unref(config);
}

/* Runs a check without privileges: in a child, because there is no way back. */
static void as_nobody(void (*check)(const void *), const void *data)
{
    if (geteuid() != 0) {
        check(data);
        return;
    }
    ck_assert_int_eq(chmod(".", 0777), 0);
    pid_t child = fork();
    if (child == 0) {
        const struct passwd *entry = getpwnam("nobody");
        if (setgroups(0, NULL) < 0 || setgid(entry->pw_gid) < 0 || setuid(entry->pw_uid) < 0)
            _exit(2);
        check(data);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(status == 0, "status %#x", status);
}

/* --- rules that root meets ----------------------------------------------------------------- */

#define POOL(name, more) "pool " name " { workers = 1 echo {} " more " }\n"

#define SIZED(size) "pool a { listen = systemd:a echo {} " size " }\n"

/* clang-format off: it would align the columns far beyond the line */
static const struct rule rules[] = {
    /* users and groups */
    {POOL("a", "listen = systemd:a user = \"no such\""),
     "1: pool a: user: there is no user \"no such\""},
    {POOL("a", "listen = systemd:a user = root group = \"no such\""),
     "1: pool a: group: there is no group"},
    {"user = \"no such\"\n" POOL("a", "listen = systemd:a") POOL("b", "listen = systemd:b"),
     "1: user: there is no user \"no such\""},
    {"group = \"no such\"\nuser = root\n" POOL("a", "listen = systemd:a"),
     "1: group: there is no group"},
    {"user = root control_group = \"no such\"\n" POOL("a", "listen = systemd:a"),
     "1: control_group: there is no group"},
    {NOBODY
     "\n" POOL("a", "listen = unix:/x\nsocket_user = \"no such\"\nsocket_group = \"no such\""),
     "3: pool a: socket_user: there is no user\n4: pool a: socket_group: there is no group"},
    {POOL("a", "listen = systemd:a user = 54321"),
     "1: pool a: user 54321 has no entry that says its group"},
    {POOL("a", "listen = systemd:a user = 54321 group = 54321"), ""},
    {POOL("a", "listen = systemd:a user = 4294967295"), "1: pool a: user: there is no user"},
    {POOL("a", "listen = systemd:a user = 99999999999999999999"),
     "1: pool a: user: there is no user"},
    {POOL("a", "listen = systemd:a user = -1"), "1: pool a: user: there is no user"},
    {POOL("a", "listen = systemd:a user = 0x0"), "1: pool a: user: there is no user"},

    /* addresses */
    {NOBODY POOL("a",
                 "\nlisten = { \"127.0.0.1\", \"\", \"127.0.0.1:65536\", \"127.0.0.1:-1\", "
                 "\"127.0.0.1:nosuchservice\", \"127.0.0.1:\", \":80\", \"::1:80\", \"[::1]\", "
                 "\"[::1:80\", \"[127.0.0.1]:80\", \"[*]:80\", \"[::ffff:127.0.0.1]:80\", "
                 "\"one.test:80\", \"*\", \"127.0.0.1:80x\", \"127.0.0.1:+80\" }"),
     "2: pool a: listen \"127.0.0.1\": expected HOST:PORT\n2: pool a: listen \"\": expected "
     "HOST:PORT\n"
     "2: pool a: listen \"127.0.0.1:65536\": the port is a number from 0 to 65535\n"
     "2: listen \"127.0.0.1:-1\": the system knows no service\n"
     "2: listen \"127.0.0.1:nosuchservice\": the system knows no service\n"
     "2: listen \"127.0.0.1:\": the port is missing\n2: listen \":80\": the host is missing\n"
     "2: listen \"::1:80\": an IPv6 address stands in brackets\n2: listen \"[::1]\": expected\n"
     "2: listen \"[::1:80\": expected\n2: listen \"[127.0.0.1]:80\": only an IPv6\n"
     "2: listen \"[*]:80\": only an IPv6\n2: listen \"[::ffff:127.0.0.1]:80\": write an IPv4 "
     "address\n"
     "2: listen \"one.test:80\": \n2: listen \"*\": expected\n2: listen \"127.0.0.1:80x\": the "
     "port\n"
     "2: listen \"127.0.0.1:+80\": the system knows no service"},
    {NOBODY POOL("a", "listen = { '[fe80::1]:80', '[fe80::1%nosuchnic]:80', '[lo%lo]:80' }"),
     "1: pool a: listen \"[fe80::1]:80\": a link-local address needs its interface\n"
     "1: listen \"[fe80::1%nosuchnic]:80\": the system has no network interface\n"
     "1: listen \"[lo%lo]:80\": only an IPv6"},
    {NOBODY POOL("a", "listen = { '[::1]:80', '[::1%lo]:80' }"),
     "1: pool a: listen \"[::1%lo]:80\" is the same address as \"[::1]:80\""},
    {NOBODY POOL("a", "listen = { \"unix:x\", \"unix:\", \"unix:@\", \"unix:/x/\", \"systemd:\", "
                      "\"systemd:a:b\", \"systemd:a b\" }"),
     "1: listen \"unix:x\": a Unix socket is\n1: listen \"unix:\": a Unix socket is\n"
     "1: listen \"unix:@\": the name of the socket is missing\n1: listen \"unix:/x/\": the name\n"
     "1: listen \"systemd:\": the name of a passed\n1: listen \"systemd:a:b\": the name\n"
     "1: listen \"systemd:a b\": the name"},
    {NOBODY POOL("a", "listen = { \"127.0.0.1:80\", \"127.0.0.1:80\" }"),
     "1: pool a: listen \"127.0.0.1:80\" is the same address as \"127.0.0.1:80\""},
    {NOBODY POOL("a", "listen = \"127.0.0.1:80\"") POOL("b", "\nlisten = \"*:80\""),
     "3: pool b: listen \"*:80\" is the same address as \"127.0.0.1:80\" of pool a (t.conf:1)"},
    {NOBODY POOL("a", "listen = \"two.test:80\"") POOL("b", "listen = \"[::1]:80\""),
     "2: pool b: listen \"[::1]:80\" is the same address as \"two.test:80\" of pool a"},
    {NOBODY POOL("a", "listen = \"127.0.0.1:http\"") POOL("b", "listen = \"127.0.0.1:80\""),
     "2: pool b: listen \"127.0.0.1:80\" is the same address as \"127.0.0.1:http\""},
    {NOBODY POOL("a", "listen = \"0.0.0.0:80\"") POOL("b", "listen = \"127.0.0.1:80\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"[::]:80\"") POOL("b", "listen = \"[::1]:80\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"*:80\"") POOL("b", "listen = \"[::]:80\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"*:80\"") POOL("b", "listen = \"0.0.0.0:80\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"0.0.0.0:80\"") POOL("b", "listen = \"[::]:80\""), ""},
    {NOBODY POOL("a", "listen = \"0.0.0.0:80\"") POOL("b", "listen = \"[::1]:80\""), ""},
    {NOBODY POOL("a", "listen = \"*:0\"")
         POOL("b", "listen = { \"*:0\", \"127.0.0.1:0\", \"127.0.0.1:0\" }"),
     ""},
    {NOBODY POOL("a", "listen = \"*:80\"") POOL("b", "listen = \"*:81\""), ""},
    {NOBODY POOL("a", "listen = \"unix:/x\"") POOL("b", "listen = \"unix:/x\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"unix:@x\"") POOL("b", "listen = \"unix:@x\""),
     "2: the same address"},
    {NOBODY POOL("a", "listen = \"unix:@x\"") POOL("b", "listen = \"unix:/x\""), ""},
    {NOBODY POOL("a", "listen = \"systemd:x\"") POOL("b", "listen = \"systemd:x\""),
     "2: the same address"},
    {NOBODY "control = \"/x\"\n" POOL("a", "listen = \"unix:/x\""), "2: the control socket"},

    /* sockets that systemd made */
    {NOBODY POOL("a",
                 "listen = { systemd:x, systemd:y }\nbacklog = 5\nsocket_mode = 0600\nsocket_user "
                 "= root\nsocket_group = root"),
     "2: pool a: systemd: listeners take no backlog\n3: pool a: systemd: listeners take no "
     "socket_mode\n"
     "4: pool a: systemd: listeners take no socket_user\n5: pool a: systemd: listeners take no "
     "socket_group"},
    {NOBODY POOL("a", "listen = { systemd:x, unix:/y } backlog = 5 socket_mode = 0600"), ""},

    {NOBODY POOL("a", "listen = systemd:a environment = { \"B2=1\", \"B=1\" }"), ""},

    /* the rest */
    {NOBODY POOL("a", "listen = { systemd:a, systemd:b, systemd:c, systemd:d }\n"
                      "limits {\nnofile = 16 }"),
     ""},
    {NOBODY POOL("a", "listen = { systemd:a, systemd:b, systemd:c, systemd:d, systemd:e }\n"
                      "limits {\nnofile = 16 }"),
     "3: pool a: limits: nofile is 16, but a worker with 5 listeners needs 17 open files"},
    {NOBODY "control = \"/tmp/.\"\n" POOL("a", "listen = systemd:a"),
     "1: control \"/tmp/.\": the name of the socket is missing"},
    {NOBODY "control = relative\n" POOL("a", "listen = systemd:a"),
     "1: control is an absolute path"},
    {NOBODY "control = /23456789012345678901234567890123456789012345678901234567890123456789012345"
            "67890123456789012345678901234567\n" POOL("a", "listen = systemd:a"),
     ""},
    {NOBODY "control = /23456789012345678901234567890123456789012345678901234567890123456789012345"
            "678901234567890123456789012345678\n" POOL("a", "listen = systemd:a"),
     "1: control is too long"},
    {NOBODY POOL("a", "listen = systemd:a\nchroot = x\ndirectory = y"),
     "2: pool a: chroot is an absolute path\n3: pool a: directory is an absolute path"},
    {NOBODY POOL("a", "listen = systemd:a\nchroot = /no/such\ndirectory = /dev/null"),
     "2: pool a: chroot \"/no/such\": No such file"},
    {NOBODY POOL("a", "listen = systemd:a\ndirectory = /dev/null"),
     "2: pool a: directory \"/dev/null\" is not a directory"},
    {NOBODY POOL("a",
                 "listen = systemd:a\nenvironment = { \"A\", \"=x\", \"1A=x\", \"A B=x\", \"B=1\", "
                 "\"B2=\", \"B=2\", \"\" }"),
     "2: environment takes NAME=VALUE, the name of letters, digits and _, not \"A\"\n2: not "
     "\"=x\"\n"
     "2: not \"1A=x\"\n2: not \"A B=x\"\n2: environment has B twice\n2: not \"\""},
    {NOBODY POOL("a", "listen = systemd:a\nallow = { '10.0.0.1/8', x, '10.0.0.0/33', '::1/129', "
                      "'::ffff:1.2.3.4/7', '10.0.0.0/8' }\ndeny = '10.0.0.0/'"),
     "2: pool a: allow \"10.0.0.1/8\" has bits set behind its prefix: did you mean \"10.0.0.0/8\", "
     "or "
     "the one address \"10.0.0.1\"?\n2: pool a: allow takes addresses and blocks\n"
     "2: allow \"10.0.0.0/33\": the length of the prefix is a number from 0 to 32\n"
     "2: allow \"::1/129\": the length of the prefix is a number from 0 to 128\n"
     "2: \"::ffff:1.2.3.4/7\": the length of the prefix is a number from 96 to 128\n"
     "3: pool a: deny \"10.0.0.0/\": the length"},
    {NOBODY POOL("a", "listen = systemd:a\nproxy_from = '10.0.0.0/8'"),
     "2: pool a: proxy_from needs proxy_protocol = \"on\""},
    {NOBODY POOL("a", "listen = systemd:a\nproxy_protocol = on"),
     "2: pool a: proxy_protocol = \"on\" needs proxy_from"},
    {NOBODY POOL("a", "listen = systemd:a proxy_protocol = on\nproxy_from = {}"),
     "2: proxy_from is empty; it takes a list"},
    {NOBODY POOL("a", "listen = { systemd:a, 'unix:/x' } proxy_protocol = on\nproxy_from = '::1'"),
     "2: pool a: every connection to listen \"unix:/x\" would be refused"},
    {NOBODY POOL("a", "listen = 'unix:/x' proxy_protocol = on proxy_from = unix"), ""},
    {NOBODY POOL("a", "listen = systemd:a limits {\nnofile = unlimited }"),
     "2: pool a: limits: nofile is above"},
    {NOBODY "pool a { listen = systemd:a workers = 20000 echo {} }\n"
            "pool b { listen = systemd:b workers = 20000 echo {} }\n"
            "pool c { listen = systemd:c workers = 20000 echo {} }",
     "2: pool b: with its 20000 there are 40000 workers in all; at most 30000"},

    /* sizes */
    {NOBODY SIZED(
         "max_workers = 20000") "pool b { listen = systemd:b\nmax_workers = 20000 echo {} }",
     "3: pool b: with its 20000 there are 40000 workers in all; at most 30000"},
    {NOBODY SIZED("max_workers = 20000") "pool b { listen = systemd:b\nworkers = 10001 echo {} }",
     "3: pool b: with its 10001 there are 30001 workers in all; at most 30000"},
    {NOBODY SIZED("max_workers = 20000") "pool b { listen = systemd:b workers = 10000 echo {} }",
     ""},
    {NOBODY SIZED(""), "1: pool a: its size is missing: workers, or max_workers"},
    {NOBODY SIZED("min_workers = 2 min_spare = 1"), "1: pool a: its size is missing"},
    {NOBODY SIZED("workers = 2\nmax_workers = 2"), "2: pool a: max_workers belongs to a size that"},
    {NOBODY SIZED("workers = 2\nmin_workers = 2\nmin_spare = 1\nmax_spare = 9\nspare_timeout = 1"),
     "2: pool a: min_workers belongs\n3: min_spare belongs\n4: max_spare belongs\n5: spare_timeout "
     "belongs"},
    {NOBODY SIZED("max_workers = 2\nmin_workers = 3"),
     "2: min_workers (3) is above max_workers (2)"},
    {NOBODY SIZED("max_workers = 2\nmax_spare = 3"), "2: max_spare (3) is above max_workers (2)"},
    {NOBODY SIZED("max_workers = 9\nmin_spare = 3\nmax_spare = 2"),
     "2: min_spare (3) is above max_spare (2)"},
    {NOBODY SIZED("max_workers = 9\nmin_spare = 10"), "2: min_spare (10) is above max_spare (9)"},
    {NOBODY SIZED("max_workers = 9 min_workers = 0\nmin_spare = 1"),
     "2: min_workers = 0 leaves no worker to spare: min_spare must be 0"},
    {NOBODY SIZED("max_workers = 9 spare_timeout = 0"), "1: spare_timeout takes"},
    {NOBODY SIZED("max_workers = 9 min_workers = 0 min_spare = 0"), ""},
    {NOBODY SIZED("max_workers = 1"), ""},

    /* models */
    {NOBODY SIZED("workers = 2\nmodel = fiber"), "2: model takes process, thread or event"},
    {NOBODY SIZED("workers = 2\nthreads = 4"),
     "2: pool a: threads belongs to model = \"thread\"; this pool has \"process\""},
    {NOBODY SIZED("workers = 2 model = event\nthreads = 4"),
     "2: pool a: threads belongs to model = \"thread\"; this pool has \"event\""},
    {NOBODY SIZED("workers = 2 model = thread\nconnections = 4"),
     "2: pool a: connections belongs to model = \"event\"; this pool has \"thread\""},
    {NOBODY SIZED("workers = 2 model = thread threads = 1024"), ""},
    {NOBODY SIZED("workers = 2 model = thread\nthreads = 1025"), "2: threads takes"},
    {NOBODY SIZED("workers = 3 model = event connections = 10000"), ""},
    {NOBODY SIZED("model = event connections = 10000\nworkers = 4"),
     "2: pool a: 4 workers of 10000 connections make 40000; at most 30000 are possible in a pool"},
    {NOBODY SIZED(
         "model = event connections = 30000 workers = 1") "pool b { listen = systemd:b\n"
                                                          "model = thread threads = 1000 "
                                                          "max_workers = 30 echo {} }\npool c { "
                                                          "listen = systemd:c\n"
                                                          "workers = 1 echo {} }",
     "5: pool c: with its 1 there are 60001 connections in all; at most 60000 are possible"},
    {NOBODY SIZED("workers = 1 model = event\nconnections = 2000 limits { nofile = 2K }"), ""},
    {NOBODY SIZED("workers = 1 model = event\nconnections = 2000 limits { nofile = 2000 }"),
     "2: pool a: a worker with connections = 2000 needs 2034 open files, but its limit nofile is "
     "2000"},
    {NOBODY SIZED("workers = 1 model = thread\nthreads = 400 limits { nofile = 1K }"),
     "2: pool a: a worker with threads = 400 needs 1233 open files, but its limit nofile is 1024"},
    {NOBODY SIZED("max_workers = 2 model = thread threads = 4\nmax_spare = 9"),
     "2: max_spare (9) is above the connections of max_workers (8)"},
    {NOBODY "pool a { listen = systemd:a workers = 1\nmodel = thread exec { command = x } }",
     "2: pool a: the handler exec doesn't support model = \"thread\", only \"process\": its "
     "program has it"},
};
/* clang-format on */

/* Defaults that other options reduce. */
START_TEST(sizes_that_give_way)
{
    static const struct {
        const char *size;
        int min_workers, max_workers, min_spare, max_spare, spare_timeout, workers;
    } cases[] = {
        {"max_workers = 64", 1, 64, 1, 4, 10, 0},
        {"max_workers = 64 min_workers = 0", 0, 64, 0, 4, 10, 0},
        {"max_workers = 2", 1, 2, 1, 2, 10, 0},
        {"max_workers = 64 min_spare = 8", 1, 64, 8, 8, 10, 0},
        {"max_workers = 64 max_spare = 0", 1, 64, 0, 0, 10, 0},
        {"max_workers = 2 model = thread threads = 2", 1, 2, 1, 4, 10, 0},
        {"max_workers = 1 model = thread threads = 2", 1, 1, 1, 2, 10, 0},
        {"workers = 3", 0, 0, 0, 0, 0, 3},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "user = \"%s\"\npool a { listen = systemd:a echo {} %s }",
                 conf_self(), cases[i].size);
        struct config *config = conf_load(text);
        conf_expect(cases[i].size, config, "");
        const struct pool_config *pool = config->pools[0];
        ck_assert_msg(
            pool->min_workers == cases[i].min_workers &&
                pool->max_workers == cases[i].max_workers &&
                pool->min_spare == cases[i].min_spare && pool->max_spare == cases[i].max_spare &&
                pool->spare_timeout == cases[i].spare_timeout && pool->workers == cases[i].workers,
            "%s: %d %d %d %d", cases[i].size, pool->min_workers, pool->max_workers, pool->min_spare,
            pool->max_spare);
        config_unref(config);
    }
}
END_TEST

START_TEST(for_root)
{
    if (geteuid() != 0)
        return;
    open_files = 100000;
    check_rule(&rules[_i]);
}
END_TEST

static void check_default_user(bool global)
{
    bool there = getpwnam("preforkd") != NULL;
    struct config *config =
        conf_load(global ? "\n" POOL("n", "listen = systemd:n user = nobody")
                               POOL("a", "listen = systemd:a") POOL("b", "listen = systemd:b")
                         : "\n" POOL("a", "listen = systemd:a user = nobody"));
    conf_expect("default user", config,
                there || !global ? "" : "3: pool a: there is no user \"preforkd\", the default");
    config_unref(config);
}

START_TEST(default_user)
{
    if (geteuid() != 0)
        return;
    check_default_user(true);
    check_default_user(false);
}
END_TEST

START_TEST(identities)
{
    if (geteuid() != 0)
        return;
    struct config *config =
        conf_load("user = nobody group = daemon\n" POOL("a", "listen = unix:/a")
                      POOL("b", "listen = unix:/b user = 1")
                          POOL("c", "listen = unix:/c group = 54321 socket_user = 54322")
                              POOL("d", "listen = unix:/d user = 54321 group = daemon"));
    conf_expect("identities", config, "");
    const struct passwd nobody = *getpwnam("nobody");
    const struct identity *a = &config->pools[0]->identity, *b = &config->pools[1]->identity,
                          *c = &config->pools[2]->identity, *d = &config->pools[3]->identity;
    ck_assert_uint_eq(a->uid, nobody.pw_uid);
    ck_assert_uint_eq(a->gid, getgrnam("daemon")->gr_gid);
    ck_assert(a->group_count >= 1 && strcmp(a->user, "nobody") == 0);
    ck_assert_str_eq(a->group, "daemon");
    ck_assert_uint_eq(b->uid, 1);
    ck_assert_uint_eq(b->gid, getpwuid(1)->pw_gid); /* its own, not the global one */
    ck_assert_str_eq(b->user, getpwuid(1)->pw_name);
    ck_assert_uint_eq(c->gid, 54321);
    ck_assert_str_eq(c->group, "54321");
    ck_assert_uint_eq(config->pools[2]->socket_uid, 54322);
    ck_assert_str_eq(config->pools[2]->socket_user, "54322");
    ck_assert_uint_eq(d->uid, TEST_UID);
    ck_assert(d->group_count == 1 && d->groups[0] == d->gid && strcmp(d->home, "/") == 0);
    ck_assert_uint_eq(config->pools[0]->socket_uid, a->uid);
    ck_assert_str_eq(config->pools[0]->socket_group, "daemon");
    config_unref(config);
}
END_TEST

START_TEST(addresses)
{
    char text[ADDR_TEXT];
    struct config *config = conf_load(
        "user = nobody\n" POOL("a", "listen = { 'two.test:http', '*:7', 'unix:/x', 'unix:@y', "
                                    "systemd:z, '[::1]:0', '[fe80::1%lo]:9' }"));
    if (geteuid() == 0)
        conf_expect("addresses", config, "");
    const struct pool_config *pool = config->pools[0];
    static const char *const expected[] = {"127.0.0.1:80", "[::1]:80", "[::]:7",  "unix:/x",
                                           "unix:@y",      "",         "[::1]:0", "[fe80::1%lo]:9"};
    ck_assert_int_eq(pool->listen_count, 8);
    for (int i = 0; i < 8; i++)
        ck_assert_str_eq(addr_print(&pool->listens[i].addr, text), expected[i]);
    ck_assert_str_eq(pool->listens[1].word, "two.test:http");
    ck_assert(pool->listens[2].any_family && !pool->listens[6].any_family);
    ck_assert_str_eq(pool->listens[5].passed_name, "z");
    ck_assert_ptr_null(pool->listens[4].passed_name);
    ck_assert_str_eq(pool->listens[0].file, "t.conf");
    ck_assert_int_eq(pool->listens[0].line, 2);
    config_unref(config);
}
END_TEST

START_TEST(open_files_bound_the_workers)
{
    struct rlimit limit = {264, 264};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    char text[400];
    snprintf(text, sizeof text,
             "user = \"%s\"\npool a { listen = systemd:a workers = 100 echo {} }\n"
             "pool b { listen = systemd:b\nworkers = 37 echo {} }\n",
             conf_self());
    struct config *config = conf_load(text);
    conf_expect("open files", config,
                "4: pool b: 137 workers need 265 open files, but the hard limit is 264: raise");
    config_unref(config);
    *strstr(text, "37") = '2';
    config = conf_load(text);
    conf_expect("open files", config, "");
    config_unref(config);
}
END_TEST

/* --- without root -------------------------------------------------------------------------- */

/* clang-format off: it would align the columns far beyond the line */
static const struct rule rules_else[] = {
    {POOL("a", "listen = unix:/tmp/a"), ""},
    {POOL("a", "listen = systemd:a\nuser = root"), "2: pool a: user: without root it stays"},
    {POOL("a", "listen = systemd:a\nuser = \"no such\""), "2: pool a: user: there is no user"},
    {POOL("a", "listen = systemd:a\ngroup = root"), "2: pool a: group: without root it stays"},
    {"user = root\ngroup = root\n" POOL("a", "listen = systemd:a"),
     "1: user: without root it stays\n2: group: without root it stays"},
    {POOL("a", "listen = unix:/tmp/a\nsocket_user = root\nsocket_group = root"),
     "2: pool a: socket_user: without root\n3: pool a: socket_group: without root"},
    {"control_group = root\n" POOL("a", "listen = systemd:a"), "1: control_group: without root"},
    {POOL("a", "listen = systemd:a\nchroot = \"/\"\nnice = -1"),
     "2: pool a: chroot needs root\n3: pool a: a negative nice needs root"},
    {POOL("a", "listen = systemd:a nice = 1 directory = \"/\""), ""},
};
/* clang-format on */

static void check_else(const void *rule)
{
    check_rule(rule);
}

START_TEST(without_root)
{
    as_nobody(check_else, &rules_else[_i]);
}
END_TEST

static void check_self(const void *unused)
{
    char text[200];
    (void)unused;
    setenv("XDG_RUNTIME_DIR", "/tmp", true);
    snprintf(text, sizeof text,
             "user = %s group = %u\n" POOL("a", "listen = unix:/tmp/a user = %u"), conf_self(),
             getegid(), geteuid());
    struct config *config = conf_load(text);
    conf_expect("self", config, "");
    ck_assert_str_eq(config->control, "/tmp/preforkd.sock");
    ck_assert_str_eq(config->pools[0]->user, conf_self());
    ck_assert_uint_eq(config->pools[0]->identity.uid, geteuid());
    ck_assert_uint_eq(config->pools[0]->identity.gid, getegid());
    config_unref(config);
    unsetenv("XDG_RUNTIME_DIR");
    config = conf_load(POOL("a", "listen = unix:/tmp/a"));
    ck_assert_str_eq(config->control, "none");
    config_unref(config);
}

START_TEST(who_started_it)
{
    as_nobody(check_self, NULL);
}
END_TEST

static void check_limits(const void *unused)
{
    (void)unused;
    struct rlimit limit = {200, 200};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_rule(&(struct rule){POOL("a", "listen = systemd:a limits {\nnofile = 201 }"),
                              "2: pool a: limits: nofile is above 200, the hard limit"});
    check_rule(&(struct rule){POOL("a", "listen = systemd:a limits {\nnofile = 200 }"), ""});
}

START_TEST(limits_without_root)
{
    as_nobody(check_limits, NULL);
}
END_TEST

START_TEST(control_of_root)
{
    if (geteuid() != 0)
        return;
    struct config *config = conf_load(NOBODY POOL("a", "listen = systemd:a"));
    ck_assert_str_eq(config->control, "/run/preforkd/control.sock");
    config_unref(config);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("rules");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, for_root, 0, sizeof rules / sizeof *rules);
    tcase_add_test(tests, default_user);
    tcase_add_test(tests, identities);
    tcase_add_test(tests, addresses);
    tcase_add_test(tests, sizes_that_give_way);
    tcase_add_test(tests, open_files_bound_the_workers);
    tcase_add_loop_test(tests, without_root, 0, sizeof rules_else / sizeof *rules_else);
    tcase_add_test(tests, who_started_it);
    tcase_add_test(tests, limits_without_root);
    tcase_add_test(tests, control_of_root);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("rules", tests);
}
