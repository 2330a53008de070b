#include "../../src/base/arena.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM = 64 * 1024 * 1024 };

static struct arena *arena;

static void set_up(void)
{
    arena = arena_open(ROOM);
    ck_assert(arena != NULL);
}

static void tear_down(void)
{
    arena_close(arena);
}

/* A child overwrites a text with a word. */
static void overwrite(char *text, const char *word)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        strcpy(text, word);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(shared_with_no_child_unless_it_is_asked_for)
{
    char *text = arena_text(arena, "first");
    overwrite(text, "child");
    ck_assert_str_eq(text, "first");
}
END_TEST

/* A child forked after the one that fills the memory does not have it at all. */
START_TEST(withheld_from_later_children)
{
    int status;
    char *text = arena_text(arena, "first");
    ck_assert_int_eq(arena_share(arena), 0);
    overwrite(text, "child");
    ck_assert_int_eq(arena_withhold(arena), 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        strcpy(text, "later");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    ck_assert_str_eq(text, "child");
    ck_assert_int_eq(arena_own(arena, 0), 0);
    overwrite(text, "other");
    ck_assert_str_eq(text, "child");
}
END_TEST

START_TEST(shared_with_children_until_it_is_owned)
{
    char *text = arena_text(arena, "first");
    ck_assert_int_eq(arena_share(arena), 0);
    overwrite(text, "child");
    ck_assert_str_eq(text, "child");
    ck_assert_int_eq(arena_own(arena, 0), 0);
    ck_assert_str_eq(text, "child");
    overwrite(text, "other");
    ck_assert_str_eq(text, "child");
    strcpy(text, "ours");
    ck_assert_str_eq(text, "ours");
}
END_TEST

START_TEST(owned_by_a_child_is_not_written_through)
{
    int status;
    char *text = arena_text(arena, "first");
    ck_assert_int_eq(arena_share(arena), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (arena_own(arena, 0) != 0)
            _exit(1);
        strcpy(text, "child");
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_str_eq(text, "first");
}
END_TEST

START_TEST(owned_has_the_room_that_was_asked_for)
{
    enum { SPARE = 300000 };
    char *last = arena_take(arena, 100000);
    last[99999] = 'x';
    ck_assert_int_eq(arena_own(arena, SPARE), 0);
    ck_assert_int_eq(last[99999], 'x');
    ck_assert_uint_lt(arena->room, ROOM / 2);
    memset(arena_take(arena, SPARE - 100), 'y', SPARE - 100);
    arena_seal(arena);
    ck_assert_int_eq(last[99999], 'x');
}
END_TEST

START_TEST(spoilt_is_not_owned)
{
    size_t used = arena->used;
    arena->used = ROOM + 1;
    ck_assert_int_eq(arena_own(arena, 0), -EINVAL);
    arena->used = used;
    ck_assert_int_eq(arena_own(arena, ROOM), -EINVAL);
}
END_TEST

/* The last byte can be taken. Beyond that the process ends, because no caller asks for more than it
 * sized. */
START_TEST(takes_no_more_than_there_is)
{
    size_t left = ROOM - arena->used;
    char *piece = arena_take(arena, left / 2);
    ck_assert_ptr_nonnull(piece);
    ck_assert_ptr_nonnull(arena_take(arena, ROOM - arena->used));
    ck_assert_uint_eq(arena->used, ROOM);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        arena_take(arena, 1);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

START_TEST(unforked_is_not_there_in_a_child)
{
    char *memory = arena_unforked(100);
    ck_assert_ptr_nonnull(memory);
    memory[99] = 'x';
    pid_t pid = fork();
    if (pid == 0) /* it asks the kernel: an access would kill it */
        _exit(madvise(memory, 100, MADV_NORMAL) == 0);
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(munmap(memory, 100), 0);
}
END_TEST

START_TEST(a_list_grows_by_zeroes)
{
    int *list = NULL;
    uint32_t room = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert(list_grow(&list, &room, i + 1, sizeof *list));
        ck_assert_uint_gt(room, i);
        ck_assert_int_eq(list[i], 0);
        ck_assert_int_eq(list[room - 1], 0);
        list[i] = 7;
    }
    ck_assert_int_eq(list[999], 7);
    free(list);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("arena");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, shared_with_no_child_unless_it_is_asked_for);
    tcase_add_test(tests, withheld_from_later_children);
    tcase_add_test(tests, shared_with_children_until_it_is_owned);
    tcase_add_test(tests, owned_by_a_child_is_not_written_through);
    tcase_add_test(tests, owned_has_the_room_that_was_asked_for);
    tcase_add_test(tests, spoilt_is_not_owned);
    tcase_add_test(tests, takes_no_more_than_there_is);
    tcase_add_test(tests, unforked_is_not_there_in_a_child);
    tcase_add_test(tests, a_list_grows_by_zeroes);
    return unit_run("arena", tests);
}
