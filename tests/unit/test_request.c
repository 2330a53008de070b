#include "../../src/master/request.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct request asked(unsigned flags, const char *one, const char *two)
{
    struct message_request words = {.flags = flags, .count = two ? 2 : 1, .words = {one, two}};
    struct request request;
    request_init(&request, &words, 1, 2);
    return request;
}

/* The reply's frames as text: "o:TEXT", "e:TEXT", "x:N", with a | between them. */
static const char *reply_of(struct request *request)
{
    static char text[1000];
    struct buffer reply = {0};
    request_reply(request, &reply);
    text[0] = '\0';
    for (size_t at = 0; at < reply.used;) {
        struct message_frame frame;
        message_read_head(&frame, (const uint8_t *)reply.at + at);
        const char *bytes = reply.at + at + MESSAGE_HEAD;
        sprintf(text + strlen(text), "%s%c:", at ? "|" : "", frame.type);
        if (frame.type == MESSAGE_EXIT)
            sprintf(text + strlen(text), "%d", bytes[0]);
        else
            sprintf(text + strlen(text), "%.*s", (int)frame.length, bytes);
        at += MESSAGE_HEAD + frame.length;
    }
    buffer_done(&reply);
    request_done(request);
    return text;
}

START_TEST(words_and_flags)
{
    struct request request = asked(0, "scale", "web");
    ck_assert_str_eq(request_argument(&request, 0), "scale");
    ck_assert_str_eq(request_argument(&request, 1), "web");
    ck_assert_ptr_null(request_argument(&request, 2));
    ck_assert_ptr_null(request_argument(NULL, 0));
    ck_assert(!request.json);
    request = asked(0, "--json", "web");
    ck_assert(request.json);
    ck_assert_str_eq(request_argument(&request, 0), "web");
    request = asked(MESSAGE_JSON, "--json", NULL);
    ck_assert(request.json);
    ck_assert_ptr_null(request_argument(&request, 0));
}
END_TEST

START_TEST(answers_as_text)
{
    struct request request = asked(0, "x", NULL);
    ck_assert_str_eq(reply_of(&request), "x:0");
    request = asked(0, "x", NULL);
    request_say(&request, "%d", 1);
    request_say(&request, "two");
    ck_assert_str_eq(reply_of(&request), "o:1\ntwo\n|x:0");
    request = asked(0, "x", NULL);
    request_say(&request, "some");
    request_fail(&request, "but %s", "no");
    ck_assert_str_eq(reply_of(&request), "o:some\n|e:but no\n|x:1");
    request = asked(0, "x", NULL);
    request_misuse(&request, "what?");
    ck_assert_str_eq(reply_of(&request), "e:what?\n|x:2");
}
END_TEST

START_TEST(answers_as_json)
{
    struct request request = asked(MESSAGE_JSON, "x", NULL);
    request_say(&request, "one");
    request_say(&request, "\"two\"");
    ck_assert_str_eq(reply_of(&request), "o:{\"ok\":true,\"text\":\"one\\n\\\"two\\\"\"}\n|x:0");
    request = asked(MESSAGE_JSON, "x", NULL);
    request_fail(&request, "no");
    ck_assert_str_eq(reply_of(&request), "o:{\"ok\":false,\"text\":\"\",\"error\":\"no\"}\n|x:1");
    request = asked(MESSAGE_JSON, "x", NULL);
    request_give(&request, strdup("[1]\n"));
    ck_assert_str_eq(reply_of(&request), "o:[1]\n|x:0");
    request = asked(MESSAGE_JSON, "x", NULL);
    request_give(&request, NULL);
    ck_assert_str_eq(reply_of(&request),
                     "o:{\"ok\":false,\"text\":\"\",\"error\":\"out of memory\"}\n|x:1");
}
END_TEST

START_TEST(too_long)
{
    static char megabyte[1024 * 1024];
    memset(megabyte, 'x', sizeof megabyte);
    for (int json = 0; json < 2; json++) {
        struct request request = asked((unsigned)json, "x", NULL);
        for (int i = 0; i < 16; i++)
            buffer_add(&request.said, megabyte, sizeof megabyte);
        ck_assert_str_eq(reply_of(&request), "e:the answer is too long\n|x:1");
    }
}
END_TEST

/* Of a signal nobody waits for the answer. */
START_TEST(nobody)
{
    request_say(NULL, "nothing");
    request_wait(NULL, NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("request");
    tcase_add_test(tests, words_and_flags);
    tcase_add_test(tests, answers_as_text);
    tcase_add_test(tests, answers_as_json);
    tcase_add_test(tests, too_long);
    tcase_add_test(tests, nobody);
    return unit_run("request", tests);
}
