#include "../../src/base/log.h"
#include "../../src/base/text.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    int length, size;
    const char *escaped;
} cases[] = {
    {"plain", 5, 64, "plain"},
    {"tab\there", 8, 64, "tab\\x09here"},
    {"line\nline\r", 10, 64, "line\\x0aline\\x0d"},
    {"\x1b[31mred", 8, 64, "\\x1b[31mred"},
    {"nul\0nul", 7, 64, "nul\\x00nul"},
    {"del\x7f", 4, 64, "del\\x7f"},
    {"gr\xc3\xbc\xc3\x9f"
     "e",
     7, 64,
     "gr\xc3\xbc\xc3\x9f"
     "e"},
    {"cut here", 8, 4, "cut"},
    {"\xc2\x9b"
     "31m",
     5, 64,
     "\\xc2\\x9b"
     "31m"}, /* a control of eight bits */
    {"\x9b"
     "31m",
     4, 64,
     "\\x9b"
     "31m"},                                      /* the same, not in UTF-8 */
    {"\xe9", 1, 64, "\xe9"},                      /* a letter of another encoding */
    {"a\xe2\x80\xae", 4, 64, "a\\xe2\\x80\\xae"}, /* the line turned around */
    {"a\xe2\x81\xa6", 4, 64, "a\\xe2\\x81\\xa6"},
    {"\xd8\x9c", 2, 64, "\\xd8\\x9c"},
    {"\xe2\x82\xac\xe2\x82\xac", 6, 6, "\xe2\x82\xac"}, /* cut between characters */
    {"\xe2\x82\xac\x1b", 4, 7, "\xe2\x82\xac"},
};

START_TEST(escapes)
{
    char text[64];
    size_t taken =
        text_escape(text, (size_t)cases[_i].size, cases[_i].text, (size_t)cases[_i].length);
    ck_assert_str_eq(text, cases[_i].escaped);
    ck_assert_int_eq((int)taken, cases[_i].size == 64 ? cases[_i].length : 3);
}
END_TEST

static const struct {
    const char *text;
    size_t size;
    const char *value;
} values[] = {
    {"plain a=b", 64, "plain a=b"},
    {"\"", 64, "\\x22"},
    {"x\" pid=1", 64, "x\\x22 pid=1"},
    {"x pool=a pool=b pools=1 spool=c", 64, "x pool\\x3da pool\\x3db pools=1 spool=c"},
    {" pool=", 64, " pool\\x3d"},
    {" pool", 64, " pool"},
    {"", 64, ""},
    {"cut here", 4, "cut"},
    {"\"", 1, ""},
};

START_TEST(values_hold_no_pairs)
{
    char text[64];
    ck_assert_ptr_eq(log_value(text, values[_i].size, values[_i].text), text);
    ck_assert_str_eq(text, values[_i].value);
}
END_TEST

static const struct {
    const char *sentence, *pair;
} sentences[] = {
    {"pool web: unknown option \"x\"", " pool=web"},
    {"pool a-b_c.d: exec: no", " pool=a-b_c.d"},
    {"pool web is drained", ""},
    {"pool: unknown option", ""},
    {"pool \"x: y", ""},
    {"pool 0123456789012345678901234567890123456789: too long",
     " pool="
     "0123456789012345678901234567890123456789"},
    {"pool 01234567890123456789012345678901234567890123456789: longer", ""},
    {"listener [::]:80: kept", ""},
};

START_TEST(a_sentence_about_a_pool_gets_its_pair)
{
    char pair[LOG_POOL_PAIR];
    ck_assert_str_eq(log_pool_pair(pair, sentences[_i].sentence), sentences[_i].pair);
}
END_TEST

static const struct {
    const char *text;
    size_t size;
    const char *value;
} paths[] = {
    {"unix:/run/x", 64, "unix:/run/x"},
    {"a=b\\", 64, "a=b\\"},
    {"/a b", 64, "\"/a b\""},
    {"/a\"", 64, "\"/a\\x22\""},
    {"x pool=y", 64, "\"x pool\\x3dy\""},
    {"/cut", 4, "/cu"},
    {"/a bc", 6, "\"/a \""},
};

START_TEST(quotes_paths_with_blanks)
{
    char text[64];
    ck_assert_ptr_eq(log_quoted(text, paths[_i].size, paths[_i].text), text);
    ck_assert_str_eq(text, paths[_i].value);
}
END_TEST

START_TEST(a_rate_counts_what_it_holds_back)
{
    struct log_rate rate = {0};
    unsigned missed = 7;
    ck_assert(log_rate_ok(&rate, 3600 * USEC_SECOND, &missed));
    ck_assert_uint_eq(missed, 0);
    ck_assert(!log_rate_ok(&rate, 3600 * USEC_SECOND, &missed));
    ck_assert(!log_rate_ok(&rate, 3600 * USEC_SECOND, &missed));
    rate.next = 0;
    ck_assert(log_rate_ok(&rate, 3600 * USEC_SECOND, &missed));
    ck_assert_uint_eq(missed, 2);
    rate.next = 0; /* and each once */
    ck_assert(log_rate_ok(&rate, 3600 * USEC_SECOND, &missed));
    ck_assert_uint_eq(missed, 0);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("log");
    tcase_add_loop_test(tcase, escapes, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tcase, values_hold_no_pairs, 0, sizeof values / sizeof *values);
    tcase_add_loop_test(tcase, a_sentence_about_a_pool_gets_its_pair, 0,
                        sizeof sentences / sizeof *sentences);
    tcase_add_loop_test(tcase, quotes_paths_with_blanks, 0, sizeof paths / sizeof *paths);
    tcase_add_test(tcase, a_rate_counts_what_it_holds_back);
    return unit_run("log", tcase);
}
