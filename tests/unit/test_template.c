#include "../../src/wire/template.h"
#include "unit.h"

#include <string.h>

static const struct {
    const char *text;
    enum template_word word;
    long long numbers[3];
    const char *said;
} replies[] = {
    {"ready 1", TEMPLATE_READY, {1}, ""},
    {"ready 27", TEMPLATE_READY, {27}, ""},
    {"ready", TEMPLATE_NOTHING, {0}, ""},
    {"ready ", TEMPLATE_NOTHING, {0}, ""},
    {"ready  1", TEMPLATE_NOTHING, {0}, ""},
    {"ready 1 ", TEMPLATE_NOTHING, {0}, ""},
    {"ready 1\n", TEMPLATE_NOTHING, {0}, ""},
    {"ready +1", TEMPLATE_NOTHING, {0}, ""},
    {"ready 1 2", TEMPLATE_NOTHING, {0}, ""},
    {"readyx 1", TEMPLATE_NOTHING, {0}, ""},
    {"", TEMPLATE_NOTHING, {0}, ""},
    {"forked 4711", TEMPLATE_FORKED, {4711}, ""},
    {"forked 2147483647", TEMPLATE_FORKED, {2147483647}, ""},
    {"forked 2147483648", TEMPLATE_NOTHING, {0}, ""},
    {"forked -1", TEMPLATE_NOTHING, {0}, ""},
    {"forked 99999999999999999999999", TEMPLATE_NOTHING, {0}, ""},
    {"ended 256 1 2", TEMPLATE_ENDED, {256, 1, 2}, ""},
    {"ended 65535 9223372036854775807 0", TEMPLATE_ENDED, {65535, 9223372036854775807, 0}, ""},
    {"ended 65536 0 0", TEMPLATE_NOTHING, {0}, ""},
    {"ended 0 9223372036854775808 0", TEMPLATE_NOTHING, {0}, ""},
    {"ended 0 0", TEMPLATE_NOTHING, {0}, ""},
    {"failed no module", TEMPLATE_FAILED, {0}, "no module"},
    {"failed ", TEMPLATE_FAILED, {0}, ""},
    {"failed a\nb\x1b\xff", TEMPLATE_FAILED, {0}, "a?b??"},
    {"failed", TEMPLATE_NOTHING, {0}, ""},
};

START_TEST(reads)
{
    struct template_reply reply;
    template_read_reply(&reply, replies[_i].text, strlen(replies[_i].text));
    ck_assert_int_eq(reply.word, replies[_i].word);
    ck_assert_str_eq(reply.text, replies[_i].said);
    for (int i = 0; i < 3 && reply.word != TEMPLATE_NOTHING; i++)
        ck_assert_int_eq(reply.numbers[i], replies[_i].numbers[i]);
}
END_TEST

START_TEST(cuts_a_long_reason)
{
    struct template_reply reply;
    char text[2 * TEMPLATE_REPLY_MAX];
    memset(text, 'x', sizeof text);
    memcpy(text, "failed ", 7);
    template_read_reply(&reply, text, sizeof text);
    ck_assert_int_eq(reply.word, TEMPLATE_FAILED);
    ck_assert_uint_eq(strlen(reply.text), TEMPLATE_REPLY_MAX - 1);
}
END_TEST

START_TEST(writes)
{
    char one[] = "./a.py", two[] = "", three[] = "b c", four[] = "A=1", five[] = "B=";
    char *const arguments[] = {one, two, three, NULL}, *const environment[] = {four, five, NULL};
    static const char wanted[] = "fork\0003\0./a.py\0\0b c\0A=1\0B=";
    char text[sizeof wanted];
    ck_assert_uint_eq(template_write_request(text, sizeof text, arguments, environment),
                      sizeof wanted);
    ck_assert_mem_eq(text, wanted, sizeof wanted);
    for (size_t room = 0; room < sizeof wanted; room++)
        ck_assert_uint_eq(template_write_request(text, room, arguments, environment), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("template");
    tcase_add_loop_test(tests, reads, 0, sizeof replies / sizeof *replies);
    tcase_add_test(tests, cuts_a_long_reason);
    tcase_add_test(tests, writes);
    return unit_run("template", tests);
}
