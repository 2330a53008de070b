#include "../../src/base/text.h"
#include "unit.h"

#include <string.h>

static const struct {
    const char *from, *to;
} cases[] = {
    {"", ""},
    {"plain", "plain"},
    {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},                     /* two bytes a character */
    {"\xe2\x82\xac\xf0\x9f\x90\x98", "\xe2\x82\xac\xf0\x9f\x90\x98"}, /* three, four */
    {"a\tb\n", "a\\x09"
               "b\\x0a"},
    {"\x1b[31m\x7f", "\\x1b[31m\\x7f"},
    {"\xff\xfe", "\\xff\\xfe"},
    {"\xc3", "\\xc3"},                            /* cut short */
    {"\xe2\x82", "\\xe2\\x82"},                   /* the same */
    {"\xc3(", "\\xc3("},                          /* no continuation */
    {"\x80", "\\x80"},                            /* a continuation of nothing */
    {"\xc0\xaf", "\\xc0\\xaf"},                   /* overlong */
    {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},          /* the same */
    {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* a surrogate */
    {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond Unicode */
    {"\xf5", "\\xf5"},
    {"\xc2\x9b"
     "31m",
     "\\xc2\\x9b"
     "31m"}, /* a control of eight bits, as UTF-8 */
    {"a\xe2\x80\xae"
     "b",
     "a\\xe2\\x80\\xae"
     "b"},                                 /* the line turned around */
    {"a\xef\xbb\xbf", "a\\xef\\xbb\\xbf"}, /* no width */
    {"\xd8\x9c", "\\xd8\\x9c"},            /* a mark of direction */
};

START_TEST(cleans)
{
    char text[200];
    text_clean(text, sizeof text, cases[_i].from, 100);
    ck_assert_str_eq(text, cases[_i].to);
}
END_TEST

START_TEST(reads_no_further_than_told)
{
    char text[TEXT_CLEAN(4)];
    ck_assert_str_eq(text_clean(text, sizeof text, "abcdefgh", 4), "abcd");
    ck_assert_str_eq(text_clean(text, sizeof text, "abc\xc3\xbc", 4), "abc\\xc3");
    ck_assert_str_eq(text_clean(text, sizeof text, "\xff\xff\xff\xff\xff", 4),
                     "\\xff\\xff\\xff\\xff");
}
END_TEST

START_TEST(cuts_between_characters)
{
    char text[32];
    for (size_t size = 1; size < sizeof text; size++) {
        memset(text, '#', sizeof text);
        text_clean(text, size, "\xc3\xbc\xff\xe2\x82\xac\xf0\x9f\x90\x98xyz", 100);
        ck_assert_uint_lt(strlen(text), size);
        ck_assert_int_eq(text[size], '#');
        char again[sizeof text];
        ck_assert_str_eq(text_clean(again, sizeof again, text, sizeof text), text);
    }
}
END_TEST

/* Beyond its buffer it counts, and writes nothing. */
START_TEST(adds)
{
    char room[] = "......|";
    struct text_line line = {.at = room, .room = 6}, none = {0};
    text_add(&line, "%d, ", 1);
    text_add(&line, "%s", "");
    ck_assert_str_eq(room, "1, ");
    text_add(&line, "%s", "two");
    ck_assert_str_eq(room, "1, tw");
    text_add(&line, "%s", "three");
    ck_assert_str_eq(room, "1, tw");
    ck_assert_int_eq(room[6], '|');
    ck_assert_uint_eq(line.length, 11);
    text_add(&none, "%s", "two");
    ck_assert_uint_eq(none.length, 3);
}
END_TEST

START_TEST(grows)
{
    struct text text;
    ck_assert(text_open(&text));
    for (int i = 0; i < 10000; i++)
        fputs("0123456789", text.out);
    char *written = text_close(&text, true);
    ck_assert_uint_eq(strlen(written), 100000);
    free(written);
    ck_assert(text_open(&text));
    fputs("half", text.out);
    ck_assert_ptr_null(text_close(&text, false));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("text");
    tcase_add_loop_test(tcase, cleans, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tcase, reads_no_further_than_told);
    tcase_add_test(tcase, cuts_between_characters);
    tcase_add_test(tcase, adds);
    tcase_add_test(tcase, grows);
    return unit_run("text", tcase);
}
