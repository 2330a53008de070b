#include "../../src/base/text.h"
#include "unit.h"

#include <check.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void expect(const struct buffer *buffer, const char *text)
{
    ck_assert_uint_eq(buffer->used, strlen(text));
    ck_assert(text[0] == '\0' || memcmp(buffer->at, text, buffer->used) == 0);
}

START_TEST(it_grows)
{
    struct buffer buffer = {0};
    expect(&buffer, "");
    buffer_add(&buffer, NULL, 0);
    ck_assert_ptr_null(buffer.at);
    for (int i = 0; i < 100000; i++)
        buffer_print(&buffer, "%d\n", i % 10);
    ck_assert_uint_eq(buffer.used, 200000);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(buffer.at[2 * i], '0' + i % 10);
    ck_assert(!buffer.cut);
    buffer_done(&buffer);
    expect(&buffer, "");
    buffer_done(&buffer);
}
END_TEST

START_TEST(it_is_bounded)
{
    static char megabyte[1024 * 1024];
    struct buffer buffer = {0};
    for (int i = 0; i < BUFFER_MAX / (int)sizeof megabyte; i++)
        buffer_add(&buffer, megabyte, sizeof megabyte);
    ck_assert(!buffer.cut);
    buffer_print(&buffer, "x");
    ck_assert(buffer.cut);
    ck_assert_uint_eq(buffer.used, BUFFER_MAX);
    buffer_done(&buffer);
}
END_TEST

START_TEST(a_long_line_stays_a_line)
{
    static char word[20000];
    struct buffer buffer = {0};
    memset(word, 'x', sizeof word - 1);
    buffer_print(&buffer, "%s\n", word);
    buffer_print(&buffer, "next\n");
    ck_assert_ptr_eq(memchr(buffer.at, '\n', buffer.used), buffer.at + buffer.used - 6);
    buffer_done(&buffer);
}
END_TEST

START_TEST(children_do_not_get_it)
{
    struct buffer buffer = {0};
    buffer_print(&buffer, "ours\n");
    for (int i = 0; i < 10000; i++) /* moved, it is still none of the faults */
        buffer_print(&buffer, "and more\n");
    pid_t pid = fork();
    if (pid == 0)
        _exit(buffer.at[0]);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 'o');
    buffer_done(&buffer);
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
    {"\xc0\x80", "\"\\ufffd\\ufffd\""}, /* overlong */
    {"\xe0\x9f\xbf", "\"\\ufffd\\ufffd\\ufffd\""},
    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
    {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
    {"\xf5", "\"\\ufffd\""},
    {"\xe2\x82", "\"\\ufffd\\ufffd\""}, /* cut off */
    {"\xe2\x82z", "\"\\ufffd\\ufffdz\""},
};

START_TEST(text_is_quoted)
{
    struct buffer buffer = {0};
    buffer_add_quoted(&buffer, quotes[_i].text, strlen(quotes[_i].text));
    expect(&buffer, quotes[_i].quoted);
    buffer_done(&buffer);
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
