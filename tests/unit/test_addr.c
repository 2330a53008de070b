#include "../../src/base/addr.h"
#include "unit.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *ip;
    unsigned port;
    const char *text; /* NULL: no address */
    const char *bare;
} ips[] = {
    {"127.0.0.1", 80, "127.0.0.1:80", "127.0.0.1"},
    {"0.0.0.0", 0, "0.0.0.0:0", "0.0.0.0"},
    {"::1", 65535, "[::1]:65535", "::1"},
    {"::", 1, "[::]:1", "::"},
    {"1::", 1, "[1::]:1", "1::"},
    {"0:0:1::", 1, "[0:0:1::]:1", "0:0:1::"},
    {"1:0:2:0:3:0:4:0", 1, "[1:0:2:0:3:0:4:0]:1", "1:0:2:0:3:0:4:0"},
    {"1:0:0:2:0:0:0:3", 1, "[1:0:0:2::3]:1", "1:0:0:2::3"},
    {"1:0:0:2:3:0:0:4", 1, "[1::2:3:0:0:4]:1", "1::2:3:0:0:4"},
    {"::192.0.2.1", 1, "[::c000:201]:1", "::c000:201"},
    {"2001:DB8:0:0::1", 7, "[2001:db8::1]:7", "2001:db8::1"},
    {"::ffff:192.0.2.1", 25, "192.0.2.1:25", "192.0.2.1"},
    {"fe80::1%lo", 9, "[fe80::1%lo]:9", "fe80::1"},
    {"::1%lo", 9, "[::1]:9", "::1"},
    {"fe80::1%nosuchnic", 9, NULL, NULL},
    {"%lo", 9, NULL, NULL},
    {"127.1", 80, NULL, NULL},
    {"127.0.0.256", 80, NULL, NULL},
    {"[::1]", 80, NULL, NULL},
    {":::1", 80, NULL, NULL},
    {"localhost", 80, NULL, NULL},
    {"", 80, NULL, NULL},
};

START_TEST(reads_and_writes_ip)
{
    struct addr addr;
    char text[ADDR_TEXT];
    bool good = addr_from_ip(&addr, ips[_i].ip, ips[_i].port);
    ck_assert_msg(good == (ips[_i].text != NULL), "%s", ips[_i].ip);
    if (!good)
        return;
    ck_assert_str_eq(addr_print(&addr, text), ips[_i].text);
    *addr_put_ip(text, &addr) = '\0';
    ck_assert_str_eq(text, ips[_i].bare);
    addr_print_peer(&addr, text);
    ck_assert_str_eq(text, strchr(ips[_i].text, '%') ? "[fe80::1%1]:9" : ips[_i].text);
    ck_assert_uint_eq(addr_port(&addr), ips[_i].port);
    ck_assert(!addr_is_abstract(&addr));
}
END_TEST

static const struct {
    const char *path, *text; /* text NULL: no address */
    bool abstract;
} paths[] = {
    {"/run/x.sock", "unix:/run/x.sock", false},
    {"relative", "unix:relative", false},
    {"@name", "unix:@name", true},
    {"@a b\n", "unix:@a b\\x0a", true},
    {"/a \"\\", "unix:/a \"\\", false},
    {"/a\x7f\x1b", "unix:/a\\x7f\\x1b", false},
    {"/\xc3\xbc", "unix:/\xc3\xbc", false},
    {"", NULL, false},
    {"@", NULL, false},
};

START_TEST(reads_and_writes_paths)
{
    struct addr addr;
    char text[ADDR_TEXT];
    bool good = addr_from_path(&addr, paths[_i].path);
    ck_assert_int_eq(good, paths[_i].text != NULL);
    if (!good)
        return;
    ck_assert_str_eq(addr_print(&addr, text), paths[_i].text);
    ck_assert_ptr_null(strpbrk(addr_print_peer(&addr, text), " \""));
    ck_assert_ptr_eq(addr_put_ip(text, &addr), text);
    *addr_put_path(text, &addr) = '\0';
    ck_assert_str_eq(text, paths[_i].path);
    ck_assert_int_eq(addr_is_abstract(&addr), paths[_i].abstract);
    ck_assert_uint_eq(addr_port(&addr), 0);
    ck_assert(!addr_is_any(&addr));
}
END_TEST

/* Compares every pattern of zero groups with libc, which sometimes writes the last groups of ::/96
 * with IPv4's dots, as we never do. */
START_TEST(writes_in6_as_libc_does)
{
    struct addr addr;
    char text[ADDR_TEXT], wanted[INET6_ADDRSTRLEN];
    addr_any(&addr, AF_INET6, 0);
    for (unsigned pattern = 0; pattern < 1u << 16; pattern++) {
        for (int group = 0; group < 8; group++) {
            static const unsigned char low[] = {0, 1, 0xab, 0}, high[] = {0, 0, 0x0c, 0x10};
            unsigned which = pattern >> 2 * group & 3;
            addr.in6.sin6_addr.s6_addr[2 * group] = high[which];
            addr.in6.sin6_addr.s6_addr[2 * group + 1] = low[which];
        }
        if (IN6_IS_ADDR_V4COMPAT(&addr.in6.sin6_addr) || IN6_IS_ADDR_V4MAPPED(&addr.in6.sin6_addr))
            continue;
        inet_ntop(AF_INET6, &addr.in6.sin6_addr, wanted, sizeof wanted);
        *addr_put_ip(text, &addr) = '\0';
        ck_assert_str_eq(text, wanted);
    }
}
END_TEST

START_TEST(path_is_bounded)
{
    struct addr addr;
    char path[ADDR_PATH_MAX + 2], text[ADDR_TEXT];
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[ADDR_PATH_MAX + 1] = '\0';
    ck_assert(!addr_from_path(&addr, path));
    path[ADDR_PATH_MAX] = '\0';
    ck_assert(addr_from_path(&addr, path));
    ck_assert_uint_eq(addr.len, sizeof addr.un);
    ck_assert_uint_eq(strlen(addr_print(&addr, text)), strlen("unix:") + ADDR_PATH_MAX);
    memset(path + 1, '\x01', ADDR_PATH_MAX - 1);
    ck_assert(addr_from_path(&addr, path));
    ck_assert_uint_lt(strlen(addr_print(&addr, text)), ADDR_TEXT);
}
END_TEST

/* Unix addresses as accept() and getsockname() return them. */
START_TEST(nameless_and_unended)
{
    char text[ADDR_TEXT];
    struct addr addr = {.len = sizeof(sa_family_t), .un = {.sun_family = AF_UNIX}}, same;
    ck_assert_str_eq(addr_print(&addr, text), "unix");
    ck_assert(!addr_is_abstract(&addr));
    ck_assert(addr_from_path(&addr, "/x"));
    same = addr;
    same.len--; /* a path without its NUL */
    ck_assert(addr_equal(&addr, &same));
    ck_assert_str_eq(addr_print(&same, text), "unix:/x");
    ck_assert_str_eq(addr_print(&(struct addr){0}, text), "");
}
END_TEST

START_TEST(wildcards)
{
    struct addr addr;
    char text[ADDR_TEXT];
    addr_any(&addr, AF_INET, 80);
    ck_assert(addr_is_any(&addr));
    ck_assert_str_eq(addr_print(&addr, text), "0.0.0.0:80");
    addr_any(&addr, AF_INET6, 80);
    ck_assert(addr_is_any(&addr));
    ck_assert_str_eq(addr_print(&addr, text), "[::]:80");
    ck_assert(addr_from_ip(&addr, "::1", 80) && !addr_is_any(&addr));
}
END_TEST

static struct addr made(const char *text, unsigned port)
{
    struct addr addr;
    bool unix_path = text[0] == '/' || text[0] == '@';
    ck_assert(unix_path ? addr_from_path(&addr, text) : addr_from_ip(&addr, text, port));
    return addr;
}

static const struct {
    const char *a;
    unsigned a_port;
    const char *b;
    unsigned b_port;
    bool equal;
} pairs[] = {
    {"127.0.0.1", 80, "127.0.0.1", 80, true},
    {"127.0.0.1", 80, "127.0.0.1", 81, false},
    {"127.0.0.1", 80, "127.0.0.2", 80, false},
    {"::1", 80, "::1", 80, true},
    {"::1", 80, "::2", 80, false},
    {"::1", 80, "::1", 81, false},
    {"0.0.0.0", 80, "::", 80, false},
    {"/x", 0, "/x", 0, true},
    {"/x", 0, "/xy", 0, false},
    {"@x", 0, "@x", 0, true},
    {"@x", 0, "@xy", 0, false},
    {"@x", 0, "/x", 0, false},
    {"/x", 0, "::1", 0, false},
    {"fe80::1%lo", 1, "fe80::1", 1, false},
};

START_TEST(equality)
{
    struct addr a = made(pairs[_i].a, pairs[_i].a_port), b = made(pairs[_i].b, pairs[_i].b_port);
    ck_assert_int_eq(addr_equal(&a, &b), pairs[_i].equal);
    ck_assert_int_eq(addr_equal(&b, &a), pairs[_i].equal);
    ck_assert(!addr_equal(&a, &(struct addr){0}));
    ck_assert(addr_equal(&(struct addr){0}, &(struct addr){0}));
}
END_TEST

static const struct {
    const char *text;
    int bits;
    int family;
    uint64_t high, low;
} masks[] = {
    {"192.0.2.255", 32, AF_INET, 0, 0xc00002ff},
    {"192.0.2.255", 31, AF_INET, 0, 0xc00002fe},
    {"192.0.2.255", 8, AF_INET, 0, 0xc0000000},
    {"192.0.2.255", 0, AF_INET, 0, 0},
    {"::ffff:192.0.2.255", 24, AF_INET, 0, 0xc0000200},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, AF_INET6, UINT64_MAX, UINT64_MAX},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 127, AF_INET6, UINT64_MAX, UINT64_MAX - 1},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65, AF_INET6, UINT64_MAX, UINT64_C(1) << 63},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 64, AF_INET6, UINT64_MAX, 0},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 63, AF_INET6, UINT64_MAX - 1, 0},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, AF_INET6, 0, 0},
};

START_TEST(numbers_and_masks)
{
    struct addr addr = made(masks[_i].text, 80);
    struct addr_number number;
    ck_assert(addr_number(&addr, &number));
    number = addr_mask(number, masks[_i].bits);
    ck_assert_int_eq(number.family, masks[_i].family);
    ck_assert_uint_eq(number.high, masks[_i].high);
    ck_assert_uint_eq(number.low, masks[_i].low);
    addr = made("/x", 0);
    ck_assert(!addr_number(&addr, &number));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("addr");
    tcase_add_loop_test(tests, reads_and_writes_ip, 0, sizeof ips / sizeof *ips);
    tcase_add_loop_test(tests, reads_and_writes_paths, 0, sizeof paths / sizeof *paths);
    tcase_add_test(tests, writes_in6_as_libc_does);
    tcase_add_test(tests, path_is_bounded);
    tcase_add_test(tests, nameless_and_unended);
    tcase_add_test(tests, wildcards);
    tcase_add_loop_test(tests, equality, 0, sizeof pairs / sizeof *pairs);
    tcase_add_loop_test(tests, numbers_and_masks, 0, sizeof masks / sizeof *masks);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("addr", tests);
}
