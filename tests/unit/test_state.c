#include "../../src/master/state.h"
#include "unit.h"

#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAEMON                                                                                     \
    "daemon version=0.1.0 generation=3 pidfile_fd=-1 nofile=1024 log_level=6 log_facility=24 "     \
    "log_ident=preforkd\n"
#define WORKER_BARE                                                                                \
    "worker seat=7 place=0 pid=4711 generation=3 role=0 deadline=9 error_fd=12 core=-2 "

static char why[200];

static int read_text(struct state *state, const char *text)
{
    *state = (struct state){0};
    why[0] = '\0';
    return state_read(state, text, strlen(text), why, sizeof why);
}

/* A scoreboard with counts, a process group that has to end, and a death. */
static void add_tables(struct state *state)
{
    struct state_board *board = state_add(state, STATE_BOARD);
    *board = (struct state_board){.place = 3, .generation = UINT_MAX, .fd = -1, .wakeup_fd = 9};
    board->layout = LLONG_MAX;
    struct state_counts *counts = state_add(state, STATE_COUNTS);
    *counts = (struct state_counts){.place = 3, .generation = 2, .accepted = 7, .served = 6};
    strcpy(counts->refused, "1,0,2,0");
    strcpy(counts->service, "50,1,0,7");
    struct state_group *group = state_add(state, STATE_GROUP);
    *group = (struct state_group){.place = 3, .session = 4711, .number = 4712, .since = 5};
    group->deadline = LLONG_MAX;
    struct state_death *death = state_add(state, STATE_DEATH);
    *death = (struct state_death){.number = 70, .when = 9, .pid = 11, .status = 139, .age = 4};
    strcpy(death->pool, "web");
    strcpy(death->why, "killed by signal 11 (Segmentation fault)");
    strcpy(death->last, "a = 100%\x1b");
}

static void check_tables(const struct state *was, const struct state *is)
{
    static const struct {
        enum state_kind kind;
        size_t size;
    } kinds[] = {{STATE_BOARD, sizeof(struct state_board)},
                 {STATE_COUNTS, sizeof(struct state_counts)},
                 {STATE_GROUP, sizeof(struct state_group)},
                 {STATE_DEATH, sizeof(struct state_death)}};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
        ck_assert_msg(memcmp(state_at(was, kinds[i].kind, 0), state_at(is, kinds[i].kind, 0),
                             kinds[i].size) == 0,
                      "kind %d", (int)kinds[i].kind);
}

/* The state reads back to the same, whatever the texts contain. */
START_TEST(all_comes_back)
{
    struct state state = {0}, back;
    struct state_daemon *daemon = state_add(&state, STATE_DAEMON);
    *daemon =
        (struct state_daemon){.version = "0.1 = 100%\n", .generation = UINT_MAX, .pidfile_fd = -1};
    for (int i = 0; i < 1000; i++) {
        struct state_worker *worker = state_add(&state, STATE_WORKER);
        *worker = (struct state_worker){
            .seat = i, .error_fd = -1, .deadline = LLONG_MAX, .accepted = LLONG_MIN, .core = -2};
        snprintf(worker->last, sizeof worker->last, "%d\x01 caf\xc3\xa9\t=%%41 \x7f", i);
    }
    struct state_listener *listener = state_add(&state, STATE_LISTENER);
    *listener = (struct state_listener){.fd = 9, .origin = 1, .inode = LLONG_MAX};
    memset(listener->name, '%', sizeof listener->name - 1);
    add_tables(&state);

    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    state_write(&state, out);
    fclose(out);
    back = (struct state){0};
    ck_assert_msg(state_read(&back, text, size, why, sizeof why) == 0, "%s", why);
    for (int kind = 0; kind < STATE_KINDS; kind++) {
        ck_assert_int_eq(back.lists[kind].count, state.lists[kind].count);
    }
    const struct state_daemon *d = state_at(&back, STATE_DAEMON, 0);
    ck_assert(memcmp(d, state_at(&state, STATE_DAEMON, 0), sizeof *d) == 0);
    const struct state_listener *l = state_at(&back, STATE_LISTENER, 0);
    ck_assert_str_eq(l->name, ((struct state_listener *)state_at(&state, STATE_LISTENER, 0))->name);
    ck_assert_int_eq(l->inode, LLONG_MAX);
    for (int i = 0; i < 1000; i++) {
        const struct state_worker *was = state_at(&state, STATE_WORKER, i);
        const struct state_worker *is = state_at(&back, STATE_WORKER, i);
        ck_assert_int_eq(is->seat, i);
        ck_assert_int_eq(is->accepted, LLONG_MIN);
        ck_assert_str_eq(is->last, was->last);
    }
    ck_assert_ptr_null(state_at(&back, STATE_WORKER, 1000));
    check_tables(&state, &back);
    state_free(&state);
    state_free(&back);
    free(text);
}
END_TEST

/* Cut anywhere, it is refused: a reader never uses a part. */
START_TEST(its_descriptors_are_found)
{
    struct state state = {0};
    struct state_cursor cursor = {0};
    struct state_daemon *daemon = state_add(&state, STATE_DAEMON);
    daemon->pidfile_fd = -1;
    for (int i = 0; i < 3; i++) {
        struct state_worker *worker = state_add(&state, STATE_WORKER);
        *worker =
            (struct state_worker){.pid = 99, .error_fd = 10 + i, .notify_fd = i == 1 ? 20 : -1};
    }
    struct state_listener *control = state_add(&state, STATE_CONTROL);
    control->fd = 5;
    static const int expected[] = {10, 11, 20, 12, 5, -1, -1};
    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        ck_assert_int_eq(state_next_fd(&state, &cursor), expected[i]);
    }
    state_free(&state);
}
END_TEST

START_TEST(a_part_is_refused)
{
    static const char whole[] = "preforkd-state 2\n" DAEMON WORKER_BARE "uid=33\nend\n";
    struct state state;
    ck_assert_msg(read_text(&state, whole) == 0, "%s", why);
    state_free(&state);
    for (size_t length = 0; length < sizeof whole - 1; length++) {
        struct state part = {0};
        ck_assert_msg(state_read(&part, whole, length, why, sizeof why) != 0, "%zu", length);
        ck_assert_ptr_null(part.lists[STATE_WORKER].at);
    }
}
END_TEST

START_TEST(what_is_not_known_is_passed_over)
{
    struct state state;
    ck_assert_int_eq(read_text(&state,
                               "preforkd-state 2\n" DAEMON "colour name=blue x\n" WORKER_BARE
                               "uid=33 mood=good\nend\n"),
                     0);
    const struct state_worker *worker = state_at(&state, STATE_WORKER, 0);
    ck_assert_int_eq(worker->pid, 4711);
    ck_assert_int_eq(worker->uid, 33);
    ck_assert_int_eq(worker->born, 0); /* may be missing */
    state_free(&state);
}
END_TEST

START_TEST(what_is_wrong_is_refused)
{
    static const struct {
        const char *text, *why;
    } wrong[] = {
        {"", "not whole"},
        {"\n", "no state"},
        {"end\n", "no state"},
        {"\x7f"
         "ELF\n" DAEMON "end\n",
         "no state"},
        {"preforkd-state\n" DAEMON "end\n", "no state"},
        {"preforkd-state 1\n" DAEMON "end\n", "doesn't know: 1"},
        {"preforkd-state 3\n" DAEMON "end\n", "doesn't know: 3"},
        {"preforkd-state 2 \n" DAEMON "end\n", "doesn't know"},
        {"preforkd-state 99999999999999999999\n" DAEMON "end\n", "doesn't know"},
        {"preforkd-state 2\nend\n", "not one line about the daemon"},
        {"preforkd-state 2\n" DAEMON DAEMON "end\n", "not one line about the daemon"},
        {"preforkd-state 2\n" DAEMON "end\nend\n", "behind its end"},
        {"preforkd-state 2\n" DAEMON "end", "not whole"},
        {"preforkd-state 2\ndaemon version=1\nend\n", "line 2: missing: generation"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "\nend\n", "not KEY=VALUE"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "mood=good\nend\n", "line 3: missing: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid\nend\n", "not KEY=VALUE: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=\nend\n", "out of range: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=-1\nend\n", "out of range: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid= 1\nend\n", "out of range: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=+1\nend\n", "out of range: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=1x\nend\n", "out of range: uid"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=99999999999999999999\nend\n", "out of range"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=1 role=3\nend\n", "out of range: role"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=1 last=%\nend\n", "can't be read: last"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=1 last=%4\nend\n", "can't be read: last"},
        {"preforkd-state 2\n" DAEMON WORKER_BARE "uid=1 last=%00\nend\n", "can't be read: last"},
        {"preforkd-state 2\n" DAEMON "socket fd=2 name=x\nend\n", "out of range: fd"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct state state;
        ck_assert_msg(read_text(&state, wrong[i].text) == -1, "%zu", i);
        ck_assert_msg(strstr(why, wrong[i].why) != NULL, "%zu: %s", i, why);
        ck_assert_ptr_null(state.lists[STATE_DAEMON].at);
    }
}
END_TEST

START_TEST(a_long_text_is_refused)
{
    char text[2000];
    struct state state;
    snprintf(text, sizeof text, "preforkd-state 2\n" DAEMON "socket fd=3 name=%0*d\nend\n",
             STATE_TEXT - 1, 7);
    ck_assert_int_eq(read_text(&state, text), 0);
    state_free(&state);
    snprintf(text, sizeof text, "preforkd-state 2\n" DAEMON "socket fd=3 name=%0*d\nend\n",
             STATE_TEXT, 7);
    ck_assert_int_eq(read_text(&state, text), -1);
    ck_assert_ptr_nonnull(strstr(why, "too long: name"));
}
END_TEST

/* A NUL ends it, and a flipped bit never crashes the reader. */
START_TEST(garbage_is_survived)
{
    static const char whole[] = "preforkd-state 2\n" DAEMON WORKER_BARE "uid=33 last=%20\nend\n";
    static const char bytes[] = {0, ' ', '=', '\n', '%', '-', '9', '\xff'};
    char text[sizeof whole];
    for (size_t at = 0; at < sizeof whole - 1; at++)
        for (int i = 0; i < (int)sizeof bytes; i++) {
            struct state state = {0};
            memcpy(text, whole, sizeof whole);
            text[at] = bytes[i];
            int result = state_read(&state, text, sizeof whole - 1, why, sizeof why);
            ck_assert(bytes[i] || result == -1);
            state_free(&state);
        }
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("state");
    tcase_add_test(tcase, all_comes_back);
    tcase_add_test(tcase, its_descriptors_are_found);
    tcase_add_test(tcase, a_part_is_refused);
    tcase_add_test(tcase, what_is_not_known_is_passed_over);
    tcase_add_test(tcase, what_is_wrong_is_refused);
    tcase_add_test(tcase, a_long_text_is_refused);
    tcase_add_test(tcase, garbage_is_survived);
    return unit_run("state", tcase);
}
