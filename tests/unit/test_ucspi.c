#include "../../src/handlers/program.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char home[] = "HOME=/", port[] = "TCPLOCALPORT=mine", prefix[] = "TCPREMOTE=x",
            longer[] = "TCPREMOTEIPS=x";
static char *const plain[] = {home, NULL};
static struct ucspi *ucspi; /* lives as long as a worker: it can't be released */

static struct addr ip(const char *text, unsigned number)
{
    struct addr addr;
    ck_assert(addr_from_ip(&addr, text, number));
    return addr;
}

/* The lists must be equal, in order. */
static void same(char *const *list, const char *const *wanted)
{
    int i = 0;
    for (; wanted[i]; i++)
        ck_assert_str_eq(list[i] ? list[i] : "(none)", wanted[i]);
    ck_assert_ptr_null(list[i]);
}

static const struct {
    const char *peer, *local, *remote_ip, *local_ip;
} ips[] = {
    {"192.0.2.1", "198.51.100.255", "192.0.2.1", "198.51.100.255"},
    {"2001:db8::1", "::1", "2001:db8::1", "::1"},
    {"::ffff:192.0.2.1", "::ffff:127.0.0.1", "192.0.2.1", "127.0.0.1"},
    {"fe80::1%lo", "fe80::2%lo", "fe80::1", "fe80::2"},
    {"1111:2222:3333:4444:5555:6666:7777:8888", "255.255.255.255",
     "1111:2222:3333:4444:5555:6666:7777:8888", "255.255.255.255"},
};

START_TEST(tells_of_tcp)
{
    char texts[4][80];
    struct addr peer = ip(ips[_i].peer, 65535), local = ip(ips[_i].local, 1);
    ucspi = ucspi_make(plain);
    snprintf(texts[0], sizeof texts[0], "TCPREMOTEIP=%s", ips[_i].remote_ip);
    snprintf(texts[1], sizeof texts[1], "TCPLOCALIP=%s", ips[_i].local_ip);
    snprintf(texts[2], sizeof texts[2], "REMOTE_ADDR=%s", ips[_i].remote_ip);
    same(ucspi_tcp(ucspi, &peer, &local, 4294967295u),
         (const char *const[]){"HOME=/", "PROTO=TCP", texts[0], "TCPREMOTEPORT=65535", texts[1],
                               "TCPLOCALPORT=1", "TCPCONNNUM=4294967295", texts[2],
                               "REMOTE_PORT=65535", NULL});
}
END_TEST

START_TEST(tells_of_unix)
{
    static const struct {
        const char *path, *text;
    } cases[] = {{"/run/x.sock", "UNIXLOCALPATH=/run/x.sock"}, {"@name", "UNIXLOCALPATH=@name"}};
    struct ucred peer = {.uid = 4294967295u, .gid = 100, .pid = 2147483647};
    ucspi = ucspi_make(plain);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct addr local;
        ck_assert(addr_from_path(&local, cases[i].path));
        same(ucspi_unix(ucspi, &peer, &local),
             (const char *const[]){"HOME=/", "PROTO=UNIX", "UNIXREMOTEEUID=4294967295",
                                   "UNIXREMOTEEGID=100", "UNIXREMOTEPID=2147483647", cases[i].text,
                                   NULL});
    }
}
END_TEST

/* The longest possible path, which has no NUL; and an empty one. */
START_TEST(bounds_the_path)
{
    ucspi = ucspi_make(plain);
    struct ucred peer = {0};
    struct addr local = {.len = sizeof local.un, .un = {.sun_family = AF_UNIX}};
    memset(local.un.sun_path, 'x', sizeof local.un.sun_path);
    char *const *list = ucspi_unix(ucspi, &peer, &local);
    ck_assert_uint_eq(strlen(list[5]), strlen("UNIXLOCALPATH=") + sizeof local.un.sun_path);
    local.len = sizeof(sa_family_t);
    ck_assert_str_eq(ucspi_unix(ucspi, &peer, &local)[5], "UNIXLOCALPATH=");
}
END_TEST

/* One worker may serve both in turn: nothing of one may remain for the other. */
START_TEST(changes_with_the_family)
{
    ucspi = ucspi_make(plain);
    struct addr peer = ip("10.0.0.1", 7), local = ip("10.0.0.2", 8), path;
    struct ucred cred = {.uid = 1, .gid = 2, .pid = 3};
    ck_assert(addr_from_path(&path, "/x"));
    for (int i = 0; i < 3; i++) {
        char *const *list = ucspi_tcp(ucspi, &peer, &local, 1);
        ck_assert_str_eq(list[1], "PROTO=TCP");
        ck_assert_ptr_null(list[9]);
        list = ucspi_unix(ucspi, &cred, &path);
        ck_assert_str_eq(list[1], "PROTO=UNIX");
        ck_assert_ptr_null(list[6]);
    }
}
END_TEST

START_TEST(base_keeps_its_own)
{
    char *const base[] = {port, home, prefix, longer, NULL};
    struct addr peer = ip("10.0.0.1", 7), local = ip("10.0.0.2", 8);
    ucspi = ucspi_make(base);
    same(ucspi_tcp(ucspi, &peer, &local, 3),
         (const char *const[]){"TCPLOCALPORT=mine", "HOME=/", "TCPREMOTE=x", "TCPREMOTEIPS=x",
                               "PROTO=TCP", "TCPREMOTEIP=10.0.0.1", "TCPREMOTEPORT=7",
                               "TCPLOCALIP=10.0.0.2", "TCPCONNNUM=3", "REMOTE_ADDR=10.0.0.1",
                               "REMOTE_PORT=7", NULL});
}
END_TEST

/* A socket whose address is no longer available. */
START_TEST(unknown_is_empty)
{
    struct addr peer = ip("10.0.0.1", 7), none = {0};
    ucspi = ucspi_make(plain);
    char *const *list = ucspi_tcp(ucspi, &peer, &none, 1);
    ck_assert_str_eq(list[4], "TCPLOCALIP=");
    ck_assert_str_eq(list[5], "TCPLOCALPORT=0");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("ucspi");
    tcase_add_loop_test(tests, tells_of_tcp, 0, sizeof ips / sizeof *ips);
    tcase_add_test(tests, tells_of_unix);
    tcase_add_test(tests, bounds_the_path);
    tcase_add_test(tests, changes_with_the_family);
    tcase_add_test(tests, base_keeps_its_own);
    tcase_add_test(tests, unknown_is_empty);
    return unit_run("ucspi", tests);
}
