#include "../../src/wire/message.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#define BYTES(text) (text), sizeof(text) - 1

static const struct {
    const char *what;
    const char *bytes;
    size_t size;
    int length; /* as message_read_request returns it */
    int count;
    const char *last;
} requests[] = {
    {"nothing", BYTES(""), 0, 0, NULL},
    {"half a length", BYTES("\0\0"), 0, 0, NULL},
    {"a length", BYTES("\0\0\0\6"), 0, 0, NULL},
    {"all but the last byte", BYTES("\0\0\0\6\0ping"), 0, 0, NULL},
    {"one word", BYTES("\0\0\0\6\0ping\0"), 10, 1, "ping"},
    {"and something behind it", BYTES("\0\0\0\6\0ping\0more"), 10, 1, "ping"},
    {"as JSON", BYTES("\0\0\0\6\1ping\0"), 10, 1, "ping"},
    {"two words", BYTES("\0\0\0\5\0a\0b\0"), 9, 2, "b"},
    {"an empty word", BYTES("\0\0\0\2\0\0"), 6, 1, ""},
    {"sixteen", BYTES("\0\0\0\x11\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), 21, 16, ""},
    {"seventeen", BYTES("\0\0\0\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), -EPROTO, 0, NULL},
    {"no word", BYTES("\0\0\0\1\0"), -EPROTO, 0, NULL},
    {"no flags", BYTES("\0\0\0\0"), -EPROTO, 0, NULL},
    {"an open word", BYTES("\0\0\0\5\0ping"), -EPROTO, 0, NULL},
    {"colours", BYTES("\0\0\0\6\2ping\0"), 10, 1, "ping"},
    {"another flag", BYTES("\0\0\0\6\4ping\0"), -EPROTO, 0, NULL},
    {"another flag, seen at once", BYTES("\0\0\0\6\xff"), -EPROTO, 0, NULL},
    {"the longest", BYTES("\0\0\x0f\xfc"), 0, 0, NULL},
    {"too long, seen at once", BYTES("\0\0\x0f\xfd"), -EPROTO, 0, NULL},
    {"HTTP", BYTES("GET / HTTP/1.0\r\n\r\n"), -EPROTO, 0, NULL},
};

START_TEST(requests_are_read)
{
    struct message_request request = {0};
    int length = message_read_request(&request, requests[_i].bytes, requests[_i].size);
    ck_assert_msg(length == requests[_i].length, "%s: %d", requests[_i].what, length);
    if (length <= 0)
        return;
    ck_assert_int_eq(request.count, requests[_i].count);
    ck_assert_str_eq(request.words[request.count - 1], requests[_i].last);
    ck_assert_uint_eq(request.flags, (unsigned)requests[_i].bytes[4]);
}
END_TEST

START_TEST(what_is_written_is_read_back)
{
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    const struct message_request one = {
        .flags = MESSAGE_JSON, .count = 3, .words = {"scale", "", "a b"}};
    struct message_request two;
    int length = message_write_request(&one, bytes);
    ck_assert_int_eq(length, 5 + 6 + 1 + 4);
    ck_assert_int_eq(message_read_request(&two, bytes, (size_t)length), length);
    ck_assert_uint_eq(two.flags, one.flags);
    ck_assert_int_eq(two.count, one.count);
    for (int i = 0; i < one.count; i++)
        ck_assert_str_eq(two.words[i], one.words[i]);
}
END_TEST

START_TEST(the_longest_request_is_read_back)
{
    static char word[MESSAGE_REQUEST_MAX];
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    struct message_request request = {.count = 1, .words = {word}};
    memset(word, 'x', MESSAGE_REQUEST_MAX - 6);
    ck_assert_int_eq(message_write_request(&request, bytes), MESSAGE_REQUEST_MAX);
    ck_assert_int_eq(message_read_request(&request, bytes, sizeof bytes), MESSAGE_REQUEST_MAX);
    word[MESSAGE_REQUEST_MAX - 6] = 'x';
    request.words[0] = word;
    ck_assert_int_eq(message_write_request(&request, bytes), -E2BIG);
}
END_TEST

START_TEST(too_many_words_are_not_written)
{
    uint8_t bytes[MESSAGE_REQUEST_MAX];
    struct message_request request = {.count = MESSAGE_WORDS + 1};
    ck_assert_int_eq(message_write_request(&request, bytes), -E2BIG);
}
END_TEST

START_TEST(heads_of_frames)
{
    const struct message_frame one = {.type = MESSAGE_OUT, .length = 0x01020304};
    struct message_frame two;
    uint8_t head[MESSAGE_HEAD];
    message_write_head(&one, head);
    ck_assert_mem_eq(head, "o\1\2\3\4", MESSAGE_HEAD);
    message_read_head(&two, head);
    ck_assert_uint_eq(two.type, one.type);
    ck_assert_uint_eq(two.length, one.length);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("message");
    tcase_add_loop_test(tests, requests_are_read, 0, sizeof requests / sizeof *requests);
    tcase_add_test(tests, what_is_written_is_read_back);
    tcase_add_test(tests, the_longest_request_is_read_back);
    tcase_add_test(tests, too_many_words_are_not_written);
    tcase_add_test(tests, heads_of_frames);
    return unit_run("message", tests);
}
