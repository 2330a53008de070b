#include "../../src/base/record.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

/* A line, and its fields in the journal and in JSON: "" where there are none. */
static const struct {
    const char *text, *pool, *pid, *message, *fields;
} cases[] = {
    {"stopped", "", "", "stopped", ""},
    {"ready: every pool serves pools=2 generation=1", "", "", "ready: every pool serves",
     "\"pools\":\"2\",\"generation\":\"1\""},
    {"pool web: worker 7 killed by signal 11 pool=web pid=7 age=93.1", "web", "7",
     "pool web: worker 7 killed by signal 11", "\"pool\":\"web\",\"pid\":\"7\",\"age\":\"93.1\""},
    {"pool web: its workers run as root", "web", "", "pool web: its workers run as root", ""},
    {"reload failed: pool web: no worker pool=web generation=2", "web", "",
     "reload failed: pool web: no worker", "\"pool\":\"web\",\"generation\":\"2\""},
    /* Text from programs and clients makes no field. */
    {"pool web: worker 7: x pool=git pid=1 signal=9 pool=web pid=7", "web", "7",
     "pool web: worker 7: x pool=git pid=1 signal=9", "\"pool\":\"web\",\"pid\":\"7\""},
    {"pool web: x pool=web pid=1 event=ready pool=web pid=7", "web", "7",
     "pool web: x pool=web pid=1 event=ready", "\"pool\":\"web\",\"pid\":\"7\""},
    {"pool web: no program pool=web script=\"/a b=c \"d\" client=unix", "web", "",
     "pool web: no program", "\"pool\":\"web\",\"script\":\"/a b=c \\\"d\",\"client\":\"unix\""},
    {"pool web: no program pool=web status=200\" status=404", "web", "", "pool web: no program",
     "\"pool\":\"web\",\"status\":\"404\""},
    {"f:3: unknown option \"a=b\"", "", "", "f:3: unknown option \\\"a=b\\\"", ""},
    {"a=b", "", "", "a=b", ""},
    {"pool web", "", "", "pool web", ""},
    {"pool a b: c", "", "", "pool a b: c", ""},
    {"pool web: a\\x1b\xff \xc3\xbc", "web", "", "pool web: a\\\\x1b\xef\xbf\xbd \xc3\xbc", ""},
    {"", "", "", "", ""},
};

static struct record record_of(const char *text, enum log_name name)
{
    return (struct record){LOG_NOTICE, LOG_DAEMON, name, "preforkd", 42, text};
}

static void expect(const char *form, const char *before, const char *what, const char *behind)
{
    char whole[RECORD_MAX];
    snprintf(whole, sizeof whole, "%s%s%s", before, what, behind);
    if (*what)
        ck_assert_msg(strstr(form, whole), "no %s in %s", whole, form);
    else
        ck_assert_msg(!strstr(form, before), "%s in %s", before, form);
}

START_TEST(journal)
{
    char form[RECORD_MAX];
    const struct record record = record_of(cases[_i].text, LOG_NAME_NONE);
    ck_assert_int_eq(record_journal(form, &record), (int)strlen(form));
    expect(form, "\nPREFORKD_POOL=", cases[_i].pool, "\n");
    expect(form, "\nPREFORKD_PID=", cases[_i].pid, "\n");
    expect(form, "PRIORITY=5\nSYSLOG_FACILITY=3\n", "SYSLOG_IDENTIFIER=preforkd\nSYSLOG_PID=42\n",
           "");
    ck_assert_ptr_null(strstr(form, "EVENT"));
    ck_assert_str_eq(strstr(form, "\nMESSAGE=") + 9 + strlen(cases[_i].text), "\n");
}
END_TEST

START_TEST(json)
{
    char form[RECORD_MAX], tail[RECORD_MAX];
    const struct record record = record_of(cases[_i].text, LOG_NAME_NONE);
    ck_assert_int_eq(record_json(form, &record), (int)strlen(form));
    expect(form, ",\"pool\":\"", cases[_i].pool, "\",\"message\"");
    snprintf(tail, sizeof tail, ",\"message\":\"%s\",\"fields\":{%s}}\n", cases[_i].message,
             cases[_i].fields);
    ck_assert_str_eq(strstr(form, ",\"message\""), tail);
    ck_assert_ptr_nonnull(
        strstr(form, "Z\",\"level\":\"notice\",\"ident\":\"preforkd\",\"pid\":42,"));
}
END_TEST

START_TEST(events)
{
    char form[RECORD_MAX];
    for (enum log_name name = 1; name < LOG_NAMES; name++) {
        const struct record record = record_of("x", name);
        record_journal(form, &record);
        ck_assert_uint_eq(strspn(strstr(form, "\nMESSAGE_ID=") + 12, "0123456789abcdef"), 32);
        ck_assert_ptr_nonnull(strstr(form, "\nPREFORKD_EVENT="));
        record_json(form, &record);
        ck_assert_ptr_nonnull(strstr(form, ",\"event\":\""));
    }
}
END_TEST

/* The longest line is not cut, and nothing is written beyond the buffer. */
START_TEST(longest)
{
    char form[RECORD_MAX], text[LOG_LINE_MAX] = "";
    const struct record record = record_of(text, LOG_NAME_READY);
    for (const char *at = "\xffq\""; *at; at++) {
        memset(text, *at, sizeof text - 1);
        text[sizeof text - 1] = '\0';
        ck_assert_int_eq(form[record_json(form, &record) - 1], '\n');
        ck_assert_int_eq(form[record_journal(form, &record) - 1], '\n');
        ck_assert_int_eq(form[record_plain(form, &record) - 1], '\n');
        ck_assert_int_gt(record_syslog(form, &record), LOG_LINE_MAX);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("record");
    tcase_add_loop_test(tests, journal, 0, sizeof cases / sizeof *cases);
    tcase_add_loop_test(tests, json, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, events);
    tcase_add_test(tests, longest);
    return unit_run("record", tests);
}
