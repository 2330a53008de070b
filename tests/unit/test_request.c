#include "../../src/master/control.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct request asked(const char *one, const char *two)
{
    struct message_request words = {.count = two ? 2 : 1, .words = {one, two}};
    struct request request;
    request_init(&request, &words, 1, 2);
    return request;
}

static const char *reply_of(struct request *request)
{
    static char text[1000];
    struct buffer reply = {0};
    request_reply(request, &reply);
    snprintf(text, sizeof text, "%.*s", (int)reply.used, reply.at);
    buffer_done(&reply);
    request_done(request);
    return text;
}

START_TEST(words)
{
    struct request request = asked("scale", "web");
    ck_assert_str_eq(request_argument(&request, 0), "scale");
    ck_assert_str_eq(request_argument(&request, 1), "web");
    ck_assert_ptr_null(request_argument(&request, 2));
    ck_assert_ptr_null(request_argument(NULL, 0));
    ck_assert(!request.json);
    request = asked("--json", "web");
    ck_assert(request.json);
    ck_assert_str_eq(request_argument(&request, 0), "web");
    request = asked("--json", NULL);
    ck_assert(request.json);
    ck_assert_ptr_null(request_argument(&request, 0));
}
END_TEST

START_TEST(answers_as_text)
{
    struct request request = asked("x", NULL);
    ck_assert_str_eq(reply_of(&request), "ok 0 0\n");
    request = asked("x", NULL);
    request_say(&request, "%d", 1);
    request_say(&request, "two");
    ck_assert_str_eq(reply_of(&request), "ok 6 0\n1\ntwo\n");
    request = asked("x", NULL);
    request_say(&request, "some");
    request_fail(&request, "but %s", "no");
    ck_assert_str_eq(reply_of(&request), "refused 5 7\nsome\nbut no\n");
    request = asked("x", NULL);
    request_misuse(&request, "what?");
    ck_assert_str_eq(reply_of(&request), "usage 0 6\nwhat?\n");
}
END_TEST

START_TEST(answers_as_json)
{
    struct request request = asked("x", "--json");
    request_say(&request, "one");
    request_say(&request, "\"two\"");
    ck_assert_str_eq(reply_of(&request), "ok 34 0\n{\"ok\":true,\"text\":\"one\\n\\\"two\\\"\"}\n");
    request = asked("x", "--json");
    request_fail(&request, "no");
    ck_assert_str_eq(reply_of(&request),
                     "refused 36 0\n{\"ok\":false,\"text\":\"\",\"error\":\"no\"}\n");
    request = asked("x", "--json");
    request_answer(&request, strdup("[1]\n"));
    ck_assert_str_eq(reply_of(&request), "ok 4 0\n[1]\n");
    request = asked("x", "--json");
    request_answer(&request, NULL);
    ck_assert_str_eq(reply_of(&request),
                     "refused 47 0\n{\"ok\":false,\"text\":\"\",\"error\":\"out of memory\"}\n");
}
END_TEST

START_TEST(too_long)
{
    static char megabyte[1024 * 1024];
    memset(megabyte, 'x', sizeof megabyte);
    for (int json = 0; json < 2; json++) {
        struct request request = asked("x", json ? "--json" : NULL);
        for (int i = 0; i < 16; i++)
            buffer_add(&request.output, megabyte, sizeof megabyte);
        ck_assert_str_eq(reply_of(&request), "refused 0 23\nthe answer is too long\n");
    }
}
END_TEST

/* Nobody waits for the answer to a signal. */
START_TEST(nobody)
{
    request_say(NULL, "nothing");
    request_wait(NULL, NULL);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("request");
    tcase_add_test(tests, words);
    tcase_add_test(tests, answers_as_text);
    tcase_add_test(tests, answers_as_json);
    tcase_add_test(tests, too_long);
    tcase_add_test(tests, nobody);
    return unit_run("request", tests);
}
