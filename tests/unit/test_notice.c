#include "../../src/wire/notice.h"
#include "unit.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    bool ready, alive, hung;
    long long watchdog;
    const char *status;
} cases[] = {
    {"", false, false, false, 0, NULL},
    {"READY=1", true, false, false, 0, NULL},
    {"READY=1\n", true, false, false, 0, NULL},
    {"READY=0", false, false, false, 0, NULL},
    {"READY=11", false, false, false, 0, NULL},
    {"READY=", false, false, false, 0, NULL},
    {"READY", false, false, false, 0, NULL},
    {"NOTREADY=1", false, false, false, 0, NULL},
    {" READY=1", false, false, false, 0, NULL},
    {"READY=1\r", false, false, false, 0, NULL},
    {"READY=1\nREADY=0", true, false, false, 0, NULL},
    {"STATUS=a b=c\nREADY=1", true, false, false, 0, "a b=c"},
    {"STATUS=", false, false, false, 0, ""},
    {"STATUS=a\nSTATUS=b\n", false, false, false, 0, "b"},
    {"WATCHDOG=1", false, true, false, 0, NULL},
    {"WATCHDOG=trigger", false, false, true, 0, NULL},
    {"WATCHDOG=2", false, false, false, 0, NULL},
    {"WATCHDOG_USEC=2500000", false, false, false, 2500000, NULL},
    {"WATCHDOG_USEC=", false, false, false, 0, NULL},
    {"WATCHDOG_USEC=-1", false, false, false, 0, NULL},
    {"WATCHDOG_USEC=1x", false, false, false, 0, NULL},
    {"WATCHDOG_USEC=99999999999999999999999", false, false, false, 0, NULL},
    {"RELOADING=1\nMONOTONIC_USEC=1\nMAINPID=1\nFDSTORE=1\n\n\n=\n==", false, false, false, 0,
     NULL},
    {"\n\nSTOPPING=1\nREADY=1", true, false, false, 0, NULL},
};

START_TEST(reads)
{
    /* Without a NUL, so that valgrind and sanitizers notice reads beyond the end. */
    size_t length = strlen(cases[_i].text);
    char *text = malloc(length + 1);
    ck_assert_ptr_nonnull(text);
    text = realloc(memcpy(text, cases[_i].text, length), length ? length : 1);
    struct notice notice;
    notice_read(text, length, &notice);
    ck_assert_int_eq(notice.ready, cases[_i].ready);
    ck_assert_int_eq(notice.alive, cases[_i].alive);
    ck_assert_int_eq(notice.hung, cases[_i].hung);
    ck_assert_int_eq(notice.watchdog, cases[_i].watchdog);
    ck_assert_int_eq(notice.status != NULL, cases[_i].status != NULL);
    if (notice.status) {
        ck_assert_uint_eq(notice.status_length, strlen(cases[_i].status));
        ck_assert_mem_eq(notice.status, cases[_i].status, notice.status_length);
    }
    free(text);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("notice");
    tcase_add_loop_test(tests, reads, 0, sizeof cases / sizeof *cases);
    return unit_run("notice", tests);
}
