#include "../../src/master/exits.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char place[] = "/tmp/preforkd-oom-XXXXXX";
static char own[64], group[64], events[96];
static struct oom oom;

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void put_count(int killed)
{
    char text[200];
    snprintf(text, sizeof text, "low 0\nhigh 3\nmax 99\noom 7\noom_kill %d\noom_group_kill 5\n",
             killed);
    put(events, text);
}

static void set_up(void)
{
    strcpy(place + strlen(place) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(place));
    snprintf(own, sizeof own, "%s/own", place);
    snprintf(group, sizeof group, "%s/a.service", place);
    snprintf(events, sizeof events, "%s/memory.events", group);
    ck_assert_int_eq(mkdir(group, 0700), 0);
    put(own, "12:memory:/other\n1:name=systemd:/x\n0::/a.service\n");
}

static void tear_down(void)
{
    unlink(events);
    rmdir(group);
    unlink(own);
    rmdir(place);
}

START_TEST(a_kill_is_claimed_once)
{
    put_count(4);
    oom_open(&oom, own, place);
    ck_assert_str_eq(oom.path, events);
    ck_assert(!oom_claim(&oom, 1));
    put_count(5);
    ck_assert(oom_claim(&oom, 2));
    ck_assert(!oom_claim(&oom, 3));
}
END_TEST

START_TEST(two_at_once_are_two_deaths)
{
    put_count(0);
    oom_open(&oom, own, place);
    put_count(2);
    ck_assert(oom_claim(&oom, 1));
    ck_assert(oom_claim(&oom, 2));
    ck_assert(!oom_claim(&oom, 3));
}
END_TEST

/* Counts of programs whose workers live on are not inherited. */
START_TEST(the_rest_is_forgotten)
{
    put_count(0);
    oom_open(&oom, own, place);
    put_count(9);
    ck_assert(oom_claim(&oom, 1));
    ck_assert(!oom_claim(&oom, 1 + USEC_SECOND));
}
END_TEST

START_TEST(where_nothing_counts)
{
    oom_open(&oom, own, place);
    ck_assert(!oom_claim(&oom, 1));
    put_count(7); /* a new one: its earlier count is not ours */
    ck_assert(!oom_claim(&oom, 2));
    put_count(8);
    ck_assert(oom_claim(&oom, 3));
    unlink(events);
    ck_assert(!oom_claim(&oom, USEC_SECOND));
    put(events, "garbage\n\n%s oom_kill");
    ck_assert(!oom_claim(&oom, USEC_SECOND));
    put(own, "1:name=systemd:/x\n");
    oom_open(&oom, own, place);
    ck_assert_str_eq(oom.path, "");
    ck_assert(!oom_claim(&oom, 1));
    oom_open(&oom, "/nowhere", place);
    ck_assert(!oom_claim(&oom, 1));
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("oom");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_kill_is_claimed_once);
    tcase_add_test(tcase, two_at_once_are_two_deaths);
    tcase_add_test(tcase, the_rest_is_forgotten);
    tcase_add_test(tcase, where_nothing_counts);
    return unit_run("oom", tcase);
}
