/* Whether a plan fits into the scoreboard, and how a plan that does not is reported. */
#include "../../src/master/plan.h"
#include "unit.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config *config;
static struct runtime runtime;
static struct pool there;
static struct pool_config conf;
static struct plan plan;
static struct plans plans;

/* A pool with `count` workers, all of an older generation: they retire. */
static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        struct worker *worker = calloc(1, sizeof *worker);
        ck_assert_ptr_nonnull(worker);
        worker->role = ROLE_RETIRING;
        worker->next = there.workers;
        there.workers = worker;
    }
}

static void set_up(void)
{
    config = config_new();
    ck_assert_ptr_nonnull(config);
    config->file = "t.conf";
    config->control = "none";
    conf = (struct pool_config){.name = "web", .workers = 10};
    there = (struct pool){.name = "web", .conf = &conf};
    runtime = (struct runtime){.pools = &there, .config = config};
    plan = (struct plan){.conf = &conf, .pool = &there};
    plans = (struct plans){.config = config, .faults = &config->faults, .at = &plan, .count = 1};
}

static void tear_down(void)
{
    while (there.workers) {
        struct worker *next = there.workers->next;
        free(there.workers);
        there.workers = next;
    }
    config_unref(config);
}

static const struct {
    enum plan_kind kind;
    int workers; /* wanted */
    int retiring;
    int fits;   /* as plans_fit() reports it */
    int active; /* of its generation: a resize needs only the difference */
} cases[] = {
    {PLAN_REPLACED, 10, 0, 0},
    {PLAN_REPLACED, 10, SCOREBOARD_SLOTS - 10, 0},
    {PLAN_REPLACED, 10, SCOREBOARD_SLOTS - 9, -1},
    {PLAN_ADDED, 10, SCOREBOARD_SLOTS - 9, -1},
    {PLAN_RESIZED, 10, SCOREBOARD_SLOTS - 10, 0},
    {PLAN_RESIZED, 10, SCOREBOARD_SLOTS - 9, -1},
    {PLAN_REPLACED, 1, SCOREBOARD_SLOTS, -1},
    {PLAN_RESIZED, 10, SCOREBOARD_SLOTS - 10, 0, 6},
    {PLAN_RESIZED, 10, SCOREBOARD_SLOTS - 9, -1, 5},
    {PLAN_RESIZED, 3, SCOREBOARD_SLOTS - 5, 0, 5},
    {PLAN_REPLACED, 10, SCOREBOARD_SLOTS - 10, -1, 6},
};

START_TEST(room_in_the_scoreboard)
{
    fill(cases[_i].retiring);
    for (int i = 0; i < cases[_i].active; i++) {
        fill(1);
        there.workers->role = ROLE_ACTIVE;
    }
    plan.kind = cases[_i].kind;
    conf.workers = cases[_i].workers;
    ck_assert_int_eq(plans_fit(&plans, &runtime), cases[_i].fits);
    ck_assert_uint_eq(config->faults.count, cases[_i].fits ? 1 : 0);
    if (cases[_i].fits)
        ck_assert_ptr_nonnull(
            strstr(config->faults.first->text, "new workers, and there is room for"));
}
END_TEST

/* It keeps the size that a command has set, and leaves a drained pool alone. */
START_TEST(room_for_a_restart)
{
    static const struct {
        int workers, extra, fits;
        bool drained;
    } restarts[] = {{1, 5, 0}, {1, 6, -1}, {9, -3, 0}, {9, -2, -1}, {9, 0, 0, true}};
    fill(SCOREBOARD_SLOTS - 6);
    plans.only = "";
    plan.kind = restarts[_i].drained ? PLAN_KEPT : PLAN_REPLACED;
    conf.workers = restarts[_i].workers;
    there.extra = restarts[_i].extra;
    there.drained = restarts[_i].drained;
    ck_assert_int_eq(plans_fit(&plans, &runtime), restarts[_i].fits);
}
END_TEST

/* A pool's workers have several seats each, and all its generations share one scoreboard. */
START_TEST(room_for_seats)
{
    static const struct {
        int retiring, fits;
    } looks[] = {{1, 0}, {2, 0}, {3, -1}};
    fill(looks[_i].retiring);
    for (struct worker *worker = there.workers; worker; worker = worker->next)
        worker->seats = 20000;
    plan.kind = PLAN_REPLACED;
    conf.origin.file = config->file;
    conf.model = MODEL_EVENT;
    conf.seats = 5000;
    conf.workers = 5;
    ck_assert_int_eq(plans_fit(&plans, &runtime), looks[_i].fits);
    if (looks[_i].fits)
        ck_assert_str_eq(config->faults.first->text,
                         "pool web: its new workers have 25000 seats, and there is room for 5536: "
                         "wait until old ones are done with their connections");
}
END_TEST

static void note_line(void *owner, bool changes, const char *line)
{
    sprintf((char *)owner + strlen(owner), "%c %s\n", changes ? '*' : ' ', line);
}

START_TEST(lines)
{
    char text[2000] = "";
    struct pool gone = {.name = "gone"}, last = {.name = "last", .removed = true};
    struct listener kept = {.text = "unix:/kept", .wanted = true},
                    closed = {.text = "[::]:80", .pool = "gone"};
    struct listener opened = {.text = "[::]:81"}, control = {.text = "unix:/control"};
    struct listener lost = {.text = "unix:/lost", .successor = &opened};
    struct listener stuck = {.text = "unix:/stuck", .wanted = true, .trouble = "can't bind"};
    struct listener again = {.text = "unix:/lost", .mended = LISTENER_REMOVED};
    struct listener healed = {.text = "[::]:82", .wanted = true, .mended = LISTENER_SHUT};
    there.next = &gone;
    gone.next = &last;
    runtime.listeners = &kept;
    kept.next = &closed;
    closed.next = &lost;
    lost.next = &stuck;
    stuck.next = &healed;
    plans.opened = &again;
    again.next = &opened;
    plans.control = &control;
    plan.kind = PLAN_RESIZED;
    strcpy(plan.what, "4 to 8");
    plans_print(&plans, &runtime, note_line, text);
    plan.kind = PLAN_REPLACED;
    strcpy(plan.what, "user www-data to git");
    plans.count = 1;
    plans.opened = &opened;
    plans_print(&plans, &(struct runtime){.control = &control}, note_line, text);
    there.drained = true;
    plan = (struct plan){.conf = &conf, .kind = PLAN_KEPT, .pool = &there};
    plans_print(&plans, &(struct runtime){.control = &control}, note_line, text);
    plans.only = "";
    plans_print(&plans, &(struct runtime){.control = &control}, note_line, text);
    ck_assert_str_eq(text, "* pool web: resized 4 to 8\n"
                           "* pool gone: removed\n"
                           "  listener unix:/kept: kept\n"
                           "* listener [::]:80: closed: it was of pool gone\n"
                           "* listener unix:/stuck: kept, unreachable: can't bind\n"
                           "* listener [::]:82: opened: it was shut down\n"
                           "* listener unix:/lost: opened: its path was removed\n"
                           "* listener [::]:81: opened\n"
                           "* control unix:/control: opened\n"
                           "* pool web: replaced: user www-data to git\n"
                           "* listener [::]:81: opened\n"
                           "  pool web: kept\n"
                           "* pool web: its drain ends\n"
                           "* listener [::]:81: opened\n"
                           "  pool web: kept\n"
                           "* listener [::]:81: opened\n");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("plan");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, room_for_a_restart, 0, 5);
    tcase_add_loop_test(tests, room_for_seats, 0, 3);
    tcase_add_loop_test(tests, room_in_the_scoreboard, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, lines);
    return unit_run("plan", tests);
}
