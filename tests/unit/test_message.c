#include "../../src/wire/message.h"
#include "unit.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BYTES(text) (text), sizeof(text) - 1

/* A copy of exactly the bytes that the function may touch, so that a sanitizer notices others. */
static int read_copy(struct message_request *request, const char *bytes, size_t size, bool ended,
                     char **copy)
{
    *copy = malloc(size + 1);
    ck_assert_ptr_nonnull(*copy);
    memcpy(*copy, bytes, size);
    return message_read_request(request, *copy, size, ended);
}

static const struct {
    const char *what;
    const char *bytes;
    size_t size;
    int length; /* as message_read_request returns it */
    int ended;  /* the same, if no more bytes follow */
    int count;
    const char *last;
} requests[] = {
    {"nothing", BYTES(""), 0, 0, 0, NULL},
    {"an empty line", BYTES("\n"), 1, 1, 0, NULL},
    {"spaces", BYTES("  \n"), 3, 3, 0, NULL},
    {"an open line", BYTES("ping"), 0, 4, 1, "ping"},
    {"one word", BYTES("ping\n"), 5, 5, 1, "ping"},
    {"and something behind it", BYTES("ping\n\0more\n"), 5, 5, 1, "ping"},
    {"two words", BYTES("a b\n"), 4, 4, 2, "b"},
    {"many spaces", BYTES("  a   b  \n"), 10, 10, 2, "b"},
    {"other characters", BYTES("\xff \"\\\xc3\xa4\n"), 7, 7, 2, "\"\\\xc3\xa4"},
    {"sixteen", BYTES("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"), 39, 39, 16, "16"},
    {"seventeen", BYTES("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n"), -E2BIG, -E2BIG, 0, NULL},
    {"a tab", BYTES("scale\tx"), -EBADMSG, -EBADMSG, 0, NULL},
    {"a NUL", BYTES("ping\0\n"), -EBADMSG, -EBADMSG, 0, NULL},
    {"an escape", BYTES("\033[2J\n"), -EBADMSG, -EBADMSG, 0, NULL},
    {"a DEL", BYTES("a\177"), -EBADMSG, -EBADMSG, 0, NULL},
    {"the frame of an older version", BYTES("\0\0\0\6\0ping\0"), -EBADMSG, -EBADMSG, 0, NULL},
    {"HTTP", BYTES("GET / HTTP/1.0\r\n\r\n"), -EBADMSG, -EBADMSG, 0, NULL},
};

START_TEST(requests_are_read)
{
    for (int ended = 0; ended < 2; ended++) {
        struct message_request request = {0};
        char *copy;
        int expected = ended ? requests[_i].ended : requests[_i].length;
        int length = read_copy(&request, requests[_i].bytes, requests[_i].size, ended, &copy);
        ck_assert_msg(length == expected, "%s: %d", requests[_i].what, length);
        if (length > 0) {
            ck_assert_int_eq(request.count, requests[_i].count);
            if (request.count)
                ck_assert_str_eq(request.words[request.count - 1], requests[_i].last);
        }
        free(copy);
    }
}
END_TEST

START_TEST(what_is_written_is_read_back)
{
    char bytes[MESSAGE_REQUEST_MAX + 1];
    const struct message_request one = {.count = 3, .words = {"scale", "web", "--json"}};
    struct message_request two;
    int length = message_write_request(&one, bytes);
    ck_assert_int_eq(length, 17);
    ck_assert_mem_eq(bytes, "scale web --json\n", 17);
    ck_assert_int_eq(message_read_request(&two, bytes, (size_t)length, false), length);
    ck_assert_int_eq(two.count, one.count);
    for (int i = 0; i < one.count; i++)
        ck_assert_str_eq(two.words[i], one.words[i]);
}
END_TEST

START_TEST(the_longest_request)
{
    static char word[MESSAGE_REQUEST_MAX + 2], bytes[MESSAGE_REQUEST_MAX + 1];
    struct message_request request = {.count = 1, .words = {word}};
    char *copy;
    memset(word, 'x', MESSAGE_REQUEST_MAX - 1);
    ck_assert_int_eq(message_write_request(&request, bytes), MESSAGE_REQUEST_MAX);
    int length = read_copy(&request, bytes, MESSAGE_REQUEST_MAX, false, &copy);
    ck_assert_int_eq(length, MESSAGE_REQUEST_MAX);
    free(copy);
    memset(word, 'x', MESSAGE_REQUEST_MAX);
    request.words[0] = word;
    ck_assert_int_eq(message_write_request(&request, bytes), -E2BIG);
    for (int ended = 0; ended < 2; ended++) { /* no newline */
        length = read_copy(&request, word, MESSAGE_REQUEST_MAX, ended, &copy);
        ck_assert_int_eq(length, ended ? MESSAGE_REQUEST_MAX : -E2BIG);
        free(copy);
    }
    word[MESSAGE_REQUEST_MAX] = '\n';
    ck_assert_int_eq(read_copy(&request, word, MESSAGE_REQUEST_MAX + 1, false, &copy), -E2BIG);
    free(copy);
}
END_TEST

START_TEST(what_is_no_line_is_not_written)
{
    static const char *const words[] = {"", "a b", "a\n", "\t", "\177"};
    char bytes[MESSAGE_REQUEST_MAX];
    struct message_request request = {.count = MESSAGE_WORDS + 1};
    ck_assert_int_eq(message_write_request(&request, bytes), -E2BIG);
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        request = (struct message_request){.count = 2, .words = {"drain", words[i]}};
        ck_assert_int_eq(message_write_request(&request, bytes), -EBADMSG);
    }
}
END_TEST

START_TEST(heads_are_read_back)
{
    static const struct message_head heads[] = {
        {MESSAGE_DONE, 0, 0}, {MESSAGE_REFUSED, 12, 345}, {MESSAGE_USAGE, 999999999, 999999999}};
    char line[MESSAGE_HEAD];
    struct message_head head;
    int length = message_write_head(&heads[_i], line);
    for (int there = 0; there < length; there++)
        ck_assert_int_eq(message_read_head(&head, line, (size_t)there), 0);
    ck_assert_int_eq(message_read_head(&head, line, (size_t)length), length);
    ck_assert_int_eq(head.status, heads[_i].status);
    ck_assert_uint_eq(head.out, heads[_i].out);
    ck_assert_uint_eq(head.err, heads[_i].err);
}
END_TEST

START_TEST(heads_that_are_none)
{
    static const char *const lines[] = {
        "\n",         "ok\n",      "ok 1\n",     "ok 1 2 3\n",        "ok 1 2 \n",
        " ok 1 2\n",  "ok  1 2\n", "ok -1 2\n",  "ok +1 2\n",         "ok 1x 2\n",
        "okay 1 2\n", "OK 1 2\n",  "fine 1 2\n", "ok 1234567890 2\n", "o\0\0",
        "usage 0 58"};
    static const int lengths[] = {[14] = 3, [15] = 10};
    struct message_head head;
    char line[MESSAGE_HEAD];
    int size = lengths[_i] ? lengths[_i] : (int)strlen(lines[_i]);
    ck_assert_int_eq(message_read_head(&head, lines[_i], (size_t)size), lengths[_i] ? 0 : -EPROTO);
    memset(line, 'x', sizeof line);
    ck_assert_int_eq(message_read_head(&head, line, sizeof line), -EPROTO);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("message");
    tcase_add_loop_test(tests, requests_are_read, 0, sizeof requests / sizeof *requests);
    tcase_add_test(tests, what_is_written_is_read_back);
    tcase_add_test(tests, the_longest_request);
    tcase_add_test(tests, what_is_no_line_is_not_written);
    tcase_add_loop_test(tests, heads_are_read_back, 0, 3);
    tcase_add_loop_test(tests, heads_that_are_none, 0, 16);
    return unit_run("message", tests);
}
