/* PROXY headers: where they end, what they say, and which bytes are none. */
#include "../../src/wire/proxy.h"
#include "unit.h"

#include <check.h>
#include <string.h>

#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) text, sizeof text - 1

/* The longest address in text form, and the longest lines of the specification's section 2.1. */
#define LONG6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

#define IPV4 "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x01\xbb" /* 12345 to 443 */
#define IPV6                                                                                       \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"         \
    "\x30\x39\x01\xbb"
#define ZEROES_27 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define UNIX_A    "/run/a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" ZEROES_27 ZEROES_27 ZEROES_27
#define UNIX_B    "\0name\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" ZEROES_27 ZEROES_27 ZEROES_27
#define UNNAMED   ZEROES_27 ZEROES_27 ZEROES_27 ZEROES_27

static const struct {
    const char *bytes;
    size_t size;
    const char *source, *destination; /* NULL: not proxied */
} good[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), "192.0.2.1:12345",
     "198.51.100.2:443"},
    {BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255:65535",
     "255.255.255.255:65535"},
    {BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0", "0.0.0.0:0"},
    {BYTES("PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n"), "[2001:db8::1]:1", "[2001:db8::2]:2"},
    {BYTES("PROXY TCP6 " LONG6 " " LONG6 " 65535 65535\r\n"), "[" LONG6 "]:65535",
     "[" LONG6 "]:65535"},
    {BYTES("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 1 2\r\n"), "192.0.2.1:1",
     "198.51.100.2:2"},
    {BYTES("PROXY UNKNOWN\r\n"), NULL, NULL},
    {BYTES("PROXY UNKNOWN \r\n"), NULL, NULL},
    {BYTES("PROXY UNKNOWN any \0 thing\r at all\r\n"), NULL, NULL},
    {BYTES("PROXY UNKNOWN " LONG6 " " LONG6 " 65535 65535\r\n"), NULL, NULL},
    {BYTES(SIGNATURE "\x21\x11\0\x0c" IPV4), "192.0.2.1:12345", "198.51.100.2:443"},
    {BYTES(SIGNATURE "\x21\x12\0\x0c" IPV4), "192.0.2.1:12345", "198.51.100.2:443"},
    {BYTES(SIGNATURE "\x21\x21\0\x24" IPV6), "[2001:db8::1]:12345", "[2001:db8::2]:443"},
    {BYTES(SIGNATURE "\x21\x22\0\x24" IPV6), "[2001:db8::1]:12345", "[2001:db8::2]:443"},
    {BYTES(SIGNATURE "\x21\x31\0\xd8" UNIX_A UNIX_B), "unix:/run/a", "unix:@name"},
    {BYTES(SIGNATURE "\x21\x32\0\xd8" UNNAMED UNIX_A), "unix", "unix:/run/a"},
    {BYTES(SIGNATURE "\x20\0\0\0"), NULL, NULL},
    {BYTES(SIGNATURE "\x20\x11\0\x0c" IPV4), NULL, NULL},
    {BYTES(SIGNATURE "\x20\x11\0\x01x"), NULL, NULL},
    {BYTES(SIGNATURE "\x20\xff\0\x05\x03\xff\xff\0\0"), NULL, NULL},
    {BYTES(SIGNATURE "\x21\0\0\0"), NULL, NULL},
    {BYTES(SIGNATURE "\x21\0\0\x05xxxxx"), NULL, NULL},
    {BYTES(SIGNATURE "\x21\x01\0\0"), NULL, NULL},
    {BYTES(SIGNATURE "\x21\x10\0\0"), NULL, NULL},
    /* bytes after the addresses */
    {BYTES(SIGNATURE "\x21\x11\0\x0f" IPV4 "\x04\0\0"), "192.0.2.1:12345", "198.51.100.2:443"},
    {BYTES(SIGNATURE "\x21\x11\0\x14" IPV4 "\xee\0\x02xx\x04\0\0"), "192.0.2.1:12345",
     "198.51.100.2:443"},
    {BYTES(SIGNATURE "\x21\x11\0\x13" IPV4 "\x03\0\x04\xc8\xcc\xd4\xb7"), "192.0.2.1:12345",
     "198.51.100.2:443"},
    {BYTES(SIGNATURE "\x21\x11\0\x16" IPV4 "\x03\0\x04\xcc\xae\x91\x81\x04\0\0"), "192.0.2.1:12345",
     "198.51.100.2:443"},
};

/* From its first byte on it is recognized, and its end does not depend on what follows. */
static void measure_all(const uint8_t *bytes, size_t size)
{
    uint8_t more[1024];
    struct proxy_extent extent;
    ck_assert_uint_le(size + 5, sizeof more);
    memcpy(more, bytes, size);
    memcpy(more + size, "\r\n\0xy", 5);
    for (size_t seen = 1; seen < size; seen++) {
        ck_assert_msg(proxy_measure(more, seen, &extent), "%zu of %zu", seen, size);
        ck_assert_uint_eq(extent.certain, seen);
        ck_assert(!extent.whole);
        ck_assert(extent.whole_size == 0 || extent.whole_size == size);
    }
    for (size_t seen = size; seen < size + 5; seen++) {
        ck_assert(proxy_measure(more, seen, &extent));
        ck_assert_uint_eq(extent.certain, size);
        ck_assert_uint_eq(extent.whole_size, size);
        ck_assert(extent.whole);
    }
}

START_TEST(headers)
{
    const uint8_t *bytes = (const uint8_t *)good[_i].bytes;
    struct proxy_header header;
    char text[ADDR_TEXT];
    measure_all(bytes, good[_i].size);
    ck_assert_ptr_null(proxy_read(bytes, good[_i].size, &header));
    ck_assert_int_eq(header.proxied, good[_i].source != NULL);
    if (!header.proxied)
        return;
    ck_assert_str_eq(addr_print(&header.source, text), good[_i].source);
    ck_assert_str_eq(addr_print(&header.destination, text), good[_i].destination);
}
END_TEST

/* A NUL would hide the bytes after it. */
START_TEST(no_line_has_a_nul)
{
    static const char line[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0 3\r\n";
    struct proxy_header header;
    ck_assert_ptr_nonnull(proxy_read((const uint8_t *)line, sizeof line - 1, &header));
}
END_TEST

/* Their first bytes show that these are no headers: no more bytes are awaited. */
static const struct {
    const char *bytes;
    size_t size;
} strangers[] = {
    {BYTES("G")},
    {BYTES("PROXX")},
    {BYTES("proxy TCP4")},
    {BYTES("PROXY\t")},
    {BYTES("PROXY\r\n")},
    {BYTES(" PROXY")},
    {BYTES("\n")},
    {BYTES("\r\r")},
    {BYTES("\r\n\r\n\0\r\nQUIT\r")},
    {BYTES(SIGNATURE "\x11")},
    {BYTES(SIGNATURE "\x31\x11\0\x0c")},
    {BYTES(SIGNATURE "\x01")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n")},
    {BYTES("PROXY UNKNOWN\n")},
    {BYTES("PROXY UNKNOWN " LONG6 " " LONG6 " 65535 655350\r\n")}, /* 108 bytes */
    {BYTES("PROXY UNKNOWN " LONG6 " " LONG6 " 65535 65535 x")},
};

START_TEST(none_from_the_beginning)
{
    struct proxy_extent extent;
    ck_assert(!proxy_measure((const uint8_t *)strangers[_i].bytes, strangers[_i].size, &extent));
}
END_TEST

/* These end like a header, and are none. */
static const struct {
    const char *bytes;
    size_t size;
} bad[] = {
    {BYTES("PROXY \r\n")},
    {BYTES("PROXY TCP4\r\n")},
    {BYTES("PROXY TCP4 \r\n")},
    {BYTES("PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1  198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1  2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1\t198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.256 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1.5 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP4 ::1 ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY TCP6 fe80::1%lo ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 [::1] ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 :::1 ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 1::2::3 ::1 1 2\r\n")},
    {BYTES("PROXY TCP6 ::12345 ::1 1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 99999\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 123456\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 0x1 2\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\r\n")},
    {BYTES("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n")},
    {BYTES("PROXY UNKNOWNX\r\n")},
    {BYTES("PROXY UNKNOWN\0\r\n")},
    {BYTES("PROXY UNKNOW\r\n")},
    {BYTES(SIGNATURE "\x22\x11\0\x0c" IPV4)},
    {BYTES(SIGNATURE "\x2f\0\0\0")},
    {BYTES(SIGNATURE "\x21\x41\0\x0c" IPV4)},
    {BYTES(SIGNATURE "\x21\x13\0\x0c" IPV4)},
    {BYTES(SIGNATURE "\x21\x11\0\0")},
    {BYTES(SIGNATURE "\x21\x11\0\x0b\0\0\0\0\0\0\0\0\0\0\0")},
    {BYTES(SIGNATURE "\x21\x21\0\x0c" IPV4)},
    {BYTES(SIGNATURE "\x21\x31\0\x24" IPV6)},
    {BYTES(SIGNATURE "\x21\x11\0\x0d" IPV4 "\x04")},
    {BYTES(SIGNATURE "\x21\x11\0\x0e" IPV4 "\x04\0")},
    {BYTES(SIGNATURE "\x21\x11\0\x0f" IPV4 "\x04\0\x01")},
    {BYTES(SIGNATURE "\x21\x11\0\x0f" IPV4 "\x04\xff\xff")},
    {BYTES(SIGNATURE "\x21\x11\0\x12" IPV4 "\x03\0\x03\0\0\0")},
    {BYTES(SIGNATURE "\x21\x11\0\x13" IPV4 "\x03\0\x04\0\0\0\0")},
    {BYTES(SIGNATURE "\x21\x11\0\x13" IPV4 "\x03\0\x04\xc8\xcc\xd4\xb6")},
    {BYTES(SIGNATURE "\x21\x12\0\x13" IPV4 "\x03\0\x04\xc8\xcc\xd4\xb7")},
};

START_TEST(none_as_a_whole)
{
    const uint8_t *bytes = (const uint8_t *)bad[_i].bytes;
    struct proxy_header header;
    measure_all(bytes, bad[_i].size);
    ck_assert_ptr_nonnull(proxy_read(bytes, bad[_i].size, &header));
}
END_TEST

/* The test values of RFC 3720, B.4. */
START_TEST(checksums)
{
    uint8_t bytes[32] = {0};
    ck_assert_uint_eq(proxy_checksum(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    ck_assert_uint_eq(proxy_checksum(0, bytes, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    ck_assert_uint_eq(proxy_checksum(0, bytes, 32), 0x46dd794e);
    ck_assert_uint_eq(proxy_checksum(proxy_checksum(0, bytes, 7), bytes + 7, 25), 0x46dd794e);
    ck_assert_uint_eq(proxy_checksum(0, (const uint8_t *)"123456789", 9), 0xe3069283);
}
END_TEST

/* The greatest length. */
START_TEST(the_longest)
{
    static uint8_t bytes[PROXY_MAX + 1];
    struct proxy_extent extent;
    struct proxy_header header;
    size_t value = 65535 - 12 - 3;
    memcpy(bytes, SIGNATURE "\x21\x11\xff\xff" IPV4 "\x04", 29);
    bytes[29] = (uint8_t)(value >> 8);
    bytes[30] = (uint8_t)value;
    ck_assert(proxy_measure(bytes, sizeof bytes, &extent) && extent.whole);
    ck_assert_uint_eq(extent.certain, PROXY_MAX);
    ck_assert_ptr_null(proxy_read(bytes, extent.certain, &header));
    ck_assert(header.proxied);
    bytes[30]++; /* one byte too many */
    ck_assert_ptr_nonnull(proxy_read(bytes, extent.certain, &header));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("proxy");
    tcase_add_test(tests, no_line_has_a_nul);
    tcase_add_loop_test(tests, headers, 0, sizeof good / sizeof *good);
    tcase_add_loop_test(tests, none_from_the_beginning, 0, sizeof strangers / sizeof *strangers);
    tcase_add_loop_test(tests, none_as_a_whole, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tests, checksums);
    tcase_add_test(tests, the_longest);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("proxy", tests);
}
