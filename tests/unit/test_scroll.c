#include "../../src/base/scroll.h"
#include "unit.h"

#include <check.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect(const struct scroll *scroll, const char *text)
{
    ck_assert_uint_eq(scroll->used, strlen(text));
    ck_assert(text[0] == '\0' || memcmp(scroll->at, text, scroll->used) == 0);
}

START_TEST(it_grows)
{
    struct scroll scroll = {0};
    expect(&scroll, "");
    scroll_add(&scroll, NULL, 0);
    ck_assert_ptr_null(scroll.at);
    for (int i = 0; i < 100000; i++)
        scroll_print(&scroll, "%d\n", i % 10);
    ck_assert_uint_eq(scroll.used, 200000);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(scroll.at[2 * i], '0' + i % 10);
    ck_assert(!scroll.cut);
    scroll_done(&scroll);
    expect(&scroll, "");
    scroll_done(&scroll);
}
END_TEST

START_TEST(it_is_bounded)
{
    static char megabyte[1024 * 1024];
    struct scroll scroll = {0};
    for (int i = 0; i < SCROLL_MAX / (int)sizeof megabyte; i++)
        scroll_add(&scroll, megabyte, sizeof megabyte);
    ck_assert(!scroll.cut);
    scroll_print(&scroll, "x");
    ck_assert(scroll.cut);
    ck_assert_uint_eq(scroll.used, SCROLL_MAX);
    scroll_done(&scroll);
}
END_TEST

START_TEST(a_long_line_stays_a_line)
{
    static char word[20000];
    struct scroll scroll = {0};
    memset(word, 'x', sizeof word - 1);
    scroll_print(&scroll, "%s\n", word);
    scroll_print(&scroll, "next\n");
    ck_assert_ptr_eq(memchr(scroll.at, '\n', scroll.used), scroll.at + scroll.used - 6);
    scroll_done(&scroll);
}
END_TEST

START_TEST(children_do_not_get_it)
{
    struct scroll scroll = {0};
    scroll_print(&scroll, "ours\n");
    for (int i = 0; i < 10000; i++) /* moved, it still isn't theirs */
        scroll_print(&scroll, "and more\n");
    pid_t pid = fork();
    if (pid == 0)
        _exit(scroll.at[0]);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 'o');
    scroll_done(&scroll);
}
END_TEST

static const struct {
    const char *text, *quoted;
} quotes[] = {
    {"", "\"\""},
    {"plain", "\"plain\""},
    {"a \"b\" \\", "\"a \\\"b\\\" \\\\\""},
    {"one\ntwo", "\"one\\ntwo\""},
    {"\x01\x1b\x7f", "\"\\u0001\\u001b\\u007f\""},
    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"\x80z", "\"\\ufffdz\""},
    {"\xc0\x80", "\"\\ufffd\\ufffd\""}, /* longer than need be */
    {"\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\""},
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    {"\xf5", "\"\\ufffd\""},
    {"\xe2\x82", "\"\\ufffd\\ufffd\""}, /* cut off */
    {"\xe2\x82z", "\"\\ufffd\\ufffdz\""},
};

START_TEST(text_is_quoted)
{
    struct scroll scroll = {0};
    scroll_add_quoted(&scroll, quotes[_i].text, strlen(quotes[_i].text));
    expect(&scroll, quotes[_i].quoted);
    scroll_done(&scroll);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("scroll");
    tcase_add_test(tests, it_grows);
    tcase_add_test(tests, it_is_bounded);
    tcase_add_test(tests, a_long_line_stays_a_line);
    tcase_add_test(tests, children_do_not_get_it);
    tcase_add_loop_test(tests, text_is_quoted, 0, sizeof quotes / sizeof *quotes);
    return unit_run("scroll", tests);
}
