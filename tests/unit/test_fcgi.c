#include "../../src/wire/fcgi.h"
#include "unit.h"

#include <check.h>
#include <string.h>

/* A stream; the result must not depend on how it is split. */
static const unsigned char stream[] = {
    1, 1,  1, 1, 0, 8, 3, 0, 0,   1,   1,   0,   0,   0, 0, 0, 'p', 'a', 'd', /* BEGIN */
    1, 4,  1, 1, 0, 4, 0, 9, 1,   1,   'A', 'b',                              /* PARAMS */
    1, 4,  1, 1, 0, 0, 2, 0, 1,   1,                                          /* their end */
    1, 5,  1, 1, 0, 5, 1, 0, 'h', 'e', 'l', 'l', 'o', 0,                      /* STDIN */
    1, 5,  1, 1, 0, 0, 0, 0,                                                  /* its end */
    1, 99, 0, 0, 0, 1, 0, 0, '?',                                             /* management */
};
static const struct {
    int type, id;
    const char *content;
    size_t size;
} records[] = {
    {1, 257, "\0\1\1\0\0\0\0\0", 8},
    {4, 257, "\1\1Ab", 4},
    {4, 257, "", 0},
    {5, 257, "hello", 5},
    {5, 257, "", 0},
    {99, 0, "?", 1},
};
enum { RECORDS = sizeof records / sizeof *records };

static size_t feed(struct fcgi_reader *reader, const unsigned char *data, size_t size,
                   unsigned char *content, size_t *got, int *record)
{
    struct fcgi_piece piece;
    struct fcgi_bytes in = {data, data + size};
    enum fcgi_found found;
    while ((found = fcgi_next(reader, &in, &piece)) == FCGI_PIECE) {
        ck_assert_int_eq(piece.type, records[*record].type);
        ck_assert_int_eq(piece.id, records[*record].id);
        memcpy(content + *got, piece.data, piece.size);
        *got += piece.size;
        ck_assert_int_eq(piece.whole && piece.size == 0, records[*record].size == 0);
        if (!piece.last)
            continue;
        ck_assert_uint_eq(*got, records[*record].size);
        ck_assert_mem_eq(content, records[*record].content, *got);
        *got = 0;
        ++*record;
    }
    ck_assert_int_eq(found, FCGI_MORE);
    return (size_t)(in.at - data);
}

START_TEST(records_however_they_are_cut)
{
    size_t cut = (size_t)_i + 1, got = 0;
    unsigned char content[64];
    int record = 0;
    struct fcgi_reader reader = {0};
    for (size_t at = 0; at < sizeof stream; at += cut) {
        size_t n = sizeof stream - at < cut ? sizeof stream - at : cut;
        ck_assert_uint_eq(feed(&reader, stream + at, n, content, &got, &record), n);
    }
    ck_assert_int_eq(record, RECORDS);
    ck_assert(fcgi_at_rest(&reader));
}
END_TEST

START_TEST(largest_record)
{
    static unsigned char data[FCGI_HEADER + FCGI_CONTENT_MAX + 255];
    struct fcgi_reader reader = {0};
    struct fcgi_piece piece;
    struct fcgi_bytes in = {data, data + sizeof data};
    fcgi_put_header(data, FCGI_STDIN, 65535, FCGI_CONTENT_MAX);
    data[6] = 255;
    ck_assert_int_eq(fcgi_next(&reader, &in, &piece), FCGI_PIECE);
    ck_assert_uint_eq(piece.size, FCGI_CONTENT_MAX);
    ck_assert_int_eq(piece.id, 65535);
    ck_assert(piece.whole && piece.last);
    ck_assert(!fcgi_at_rest(&reader));
    ck_assert_int_eq(fcgi_next(&reader, &in, &piece), FCGI_MORE);
    ck_assert(fcgi_at_rest(&reader));
}
END_TEST

START_TEST(other_versions_are_broken)
{
    static const unsigned char versions[] = {0, 2, 'G', 255};
    for (unsigned i = 0; i < sizeof versions; i++) {
        struct fcgi_reader reader = {0};
        struct fcgi_piece piece;
        struct fcgi_bytes in = {versions + i, versions + i + 1};
        ck_assert_int_eq(fcgi_next(&reader, &in, &piece), FCGI_BROKEN);
    }
}
END_TEST

START_TEST(begin_of_a_request)
{
    static const struct {
        unsigned char content[FCGI_BODY];
        int role;
        bool keep;
    } cases[] = {{{0, 1, 0}, 1, false}, {{0, 1, 1}, 1, true}, {{1, 2, 0xfe}, 258, false}};
    struct fcgi_begin begin = fcgi_begin(cases[_i].content);
    ck_assert_int_eq(begin.role, cases[_i].role);
    ck_assert(begin.keep == cases[_i].keep);
}
END_TEST

static const struct {
    const char *bytes;
    size_t size;
    const char *name, *value; /* NULL: broken, or none */
    enum fcgi_pair_found found;
} pairs[] = {
    {"", 0, NULL, NULL, FCGI_NO_PAIR},
    {"\1\2Axy", 5, "A", "xy", FCGI_PAIR},
    {"\0\0", 2, "", "", FCGI_PAIR},
    {"\x80\0\0\1\1Ay", 7, "A", "y", FCGI_PAIR},
    {"\1\x80\0\0\1Ay", 7, "A", "y", FCGI_PAIR},
    {"\1", 1, NULL, NULL, FCGI_BROKEN_PAIR},
    {"\1\1A", 3, NULL, NULL, FCGI_BROKEN_PAIR},
    {"\2\0A", 3, NULL, NULL, FCGI_BROKEN_PAIR},
    {"\x80\0\0", 3, NULL, NULL, FCGI_BROKEN_PAIR},
    {"\1\xff\xff\xff\xff"
     "A",
     6, NULL, NULL, FCGI_BROKEN_PAIR},
    {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, NULL, NULL, FCGI_BROKEN_PAIR},
};

START_TEST(name_value_pairs)
{
    struct fcgi_pair pair;
    const unsigned char *bytes = (const unsigned char *)pairs[_i].bytes;
    struct fcgi_bytes in = {bytes, bytes + pairs[_i].size};
    ck_assert_int_eq(fcgi_next_pair(&in, &pair), pairs[_i].found);
    if (pairs[_i].found != FCGI_PAIR)
        return;
    ck_assert_uint_eq(pair.name_size, strlen(pairs[_i].name));
    ck_assert_mem_eq(pair.name, pairs[_i].name, pair.name_size);
    ck_assert_uint_eq(pair.value_size, strlen(pairs[_i].value));
    ck_assert_mem_eq(pair.value, pairs[_i].value, pair.value_size);
    ck_assert_ptr_eq(in.at, in.end);
}
END_TEST

START_TEST(what_is_written)
{
    unsigned char to[FCGI_REPLY];
    static const unsigned char end[] = {1, 3, 1, 2, 0, 8, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0};
    static const unsigned char unknown[] = {1, 11, 0, 0, 0, 8, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0};
    ck_assert_uint_eq(fcgi_put_end(to, 258, 256, FCGI_UNKNOWN_ROLE), sizeof end);
    ck_assert_mem_eq(to, end, sizeof end);
    ck_assert_uint_eq(fcgi_put_unknown_type(to, 99), sizeof unknown);
    ck_assert_mem_eq(to, unknown, sizeof unknown);
}
END_TEST

START_TEST(broken_for_every_reader)
{
    unsigned char to[FCGI_REPLY];
    struct fcgi_reader reader = {0};
    struct fcgi_piece piece;
    struct fcgi_bytes in = {to, to + fcgi_put_broken(to)};
    ck_assert_int_eq(fcgi_next(&reader, &in, &piece), FCGI_BROKEN);
}
END_TEST

START_TEST(values)
{
    unsigned char to[FCGI_REPLY];
    static const unsigned char asked[] = "\x5\0OTHER\xe\0FCGI_MAX_CONNS\xf\0FCGI_MPXS_CONNS\xe";
    static const char answer[] = "\xe\xa"
                                 "FCGI_MAX_CONNS4294967295\xf\x1"
                                 "FCGI_MPXS_CONNS0";
    struct fcgi_bytes in = {asked, asked + sizeof asked - 1};
    size_t size = fcgi_put_values(to, in, 4294967295u);
    ck_assert_uint_eq(size, FCGI_HEADER + sizeof answer - 1);
    ck_assert_int_eq(to[1], FCGI_GET_VALUES_RESULT);
    ck_assert_int_eq(to[5], sizeof answer - 1);
    ck_assert_mem_eq(to + FCGI_HEADER, answer, sizeof answer - 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("fcgi");
    tcase_add_loop_test(tests, records_however_they_are_cut, 0, sizeof stream);
    tcase_add_test(tests, largest_record);
    tcase_add_test(tests, other_versions_are_broken);
    tcase_add_loop_test(tests, begin_of_a_request, 0, 3);
    tcase_add_loop_test(tests, name_value_pairs, 0, sizeof pairs / sizeof *pairs);
    tcase_add_test(tests, what_is_written);
    tcase_add_test(tests, broken_for_every_reader);
    tcase_add_test(tests, values);
    return unit_run("fcgi", tests);
}
