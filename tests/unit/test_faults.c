#include "../../src/base/faults.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena *arena;
static struct faults *faults;

static void set_up(void)
{
    arena = arena_open(1024 * 1024);
    ck_assert(arena != NULL);
    faults = arena_take(arena, sizeof *faults);
    faults_init(faults, arena);
}

static void tear_down(void)
{
    arena_close(arena);
}

static void expect(const char *expected)
{
    char text[1024] = "";
    for (const struct fault *f = faults->first; f; f = f->next) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s:%d:%s ", f->file, f->line, f->text);
    }
    ck_assert_str_eq(text, expected);
}

START_TEST(sorted_by_file_then_line)
{
    faults_add(faults, "b", 3, "three");
    faults_add(faults, "a", 2, "two");
    faults_add(faults, "b", 1, "one");
    faults_add(faults, "b", 3, "again");
    faults_add(faults, "a", 9, "nine");
    faults_add(faults, "b", 0, "whole");
    expect("b:0:whole b:1:one b:3:three b:3:again a:2:two a:9:nine ");
    ck_assert_uint_eq(faults->count, 6);
}
END_TEST

START_TEST(same_sentence_once)
{
    faults_add(faults, "a", 1, "%s", "x");
    faults_add(faults, "a", 1, "%s", "x");
    faults_add(faults, "a", 2, "%s", "x");
    expect("a:1:x a:2:x ");
    ck_assert_uint_eq(faults->count, 2);
}
END_TEST

START_TEST(foreign_bytes_are_made_fit)
{
    faults_add(faults, "a", 1, "listen \"%s\"", "x\n\x1b[2J\xff\xc3\xa4");
    expect("a:1:listen \"x\\x0a\\x1b[2J\\xff\xc3\xa4\" ");
}
END_TEST

START_TEST(more_are_counted)
{
    for (int i = 1; i <= FAULTS_MAX + 50; i++)
        faults_add(faults, "a", i, "x");
    unsigned kept = 0;
    for (const struct fault *f = faults->first; f; f = f->next)
        kept++;
    ck_assert_uint_eq(kept, FAULTS_MAX);
    ck_assert_uint_eq(faults->count, FAULTS_MAX + 50);
}
END_TEST

START_TEST(long_sentence_is_cut)
{
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    faults_add(faults, "a", 1, "%s", text);
    ck_assert_uint_lt(strlen(faults->first->text), 1024);
}
END_TEST

START_TEST(child_notes_parent_reads)
{
    ck_assert_int_eq(arena_share(arena), 0);
    pid_t child = fork();
    if (child == 0) {
        faults_add(faults, "a", 1, "from %s", "below");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    expect("a:1:from below ");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("faults");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, sorted_by_file_then_line);
    tcase_add_test(tests, same_sentence_once);
    tcase_add_test(tests, foreign_bytes_are_made_fit);
    tcase_add_test(tests, more_are_counted);
    tcase_add_test(tests, long_sentence_is_cut);
    tcase_add_test(tests, child_notes_parent_reads);
    tcase_set_timeout(tests, 60); /* generous: sanitizers, and a loaded machine */
    return unit_run("faults", tests);
}
