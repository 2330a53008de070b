#include "../../src/reports/metrics.h"
#include "../../src/reports/snapshot.h"
#include "unit.h"
#include "unit_view.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NOW (1000 * USEC_SECOND)

static struct procstat figures;

static void set_up(void)
{
    view_set_up();
}

static void tear_down(void)
{
    procstat_done(&figures);
    view_tear_down();
}

static int put_pool(const char *name, const char *handler, int workers)
{
    int place = overview_add_pool(overview, name);
    struct overview_pool *pool = &overview->pools[place];
    snprintf(pool->handler, sizeof pool->handler, "%s", handler);
    pool->state = POOL_SERVING;
    pool->state_since = 1;
    pool->target = pool->min_workers = pool->max_workers = workers;
    pool->seats = 1;
    return place;
}

static void put_worker(int number, int place, enum slot_state state, usec since)
{
    struct slot *slot = &board->slots[number];
    overview->workers[number] = (struct overview_worker){.pid = 100 + number,
                                                         .state = SLOT_STARTING,
                                                         .pool = (uint32_t)place,
                                                         .seat = (uint32_t)number,
                                                         .seats = 1,
                                                         .serial = SERIAL,
                                                         .born = 1};
    overview->workers_end = (uint32_t)number + 1;
    slot->state = state;
    slot->ready = 1;
    slot->since = since;
}

static void put_listener(int number, int place, const char *text, uint64_t inode)
{
    struct overview_listener *listener = &overview->listeners[number];
    listener->used = 1;
    listener->pool = (uint32_t)place;
    listener->inode = inode;
    strcpy(listener->text, text);
    overview->listeners_end = (uint32_t)number + 1;
}

/* Depths of inodes 1, 2, 3, ...; -1: unknown. */
static void put_queues(const int *depths, int count)
{
    figures.queues.list = calloc((size_t)count, sizeof *figures.queues.list);
    for (int i = 0; i < count; i++)
        if (depths[i] >= 0)
            figures.queues.list[figures.queues.count++] =
                (struct accept_queue){.inode = (uint64_t)i + 1, .depth = depths[i], .room = 100};
}

static void expect_line(const char *text, const char *line)
{
    char whole[400];
    snprintf(whole, sizeof whole, "\n%s\n", line);
    ck_assert_msg(strstr(text, whole) != NULL, "no line %s in\n%s", line, text);
}

static int occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

START_TEST(names_of_families)
{
    put_pool("web", "echo", 1);
    put_pool("django", "app", 1); /* accepts unseen */
    char *text = metrics_text(&view, &figures, METRICS_TEXT);
    char *open = metrics_text(&view, &figures, METRICS_OPEN);
    expect_line(text, "# TYPE preforkd_connections_accepted_total counter");
    expect_line(open, "# TYPE preforkd_connections_accepted counter");
    expect_line(open, "preforkd_connections_accepted_total{pool=\"web\"} 0");
    ck_assert_int_eq(occurrences(text, "_accepted_total{"), 1);
    ck_assert_int_eq(occurrences(text, "_served_total{"), 1);
    ck_assert_int_eq(occurrences(text, "# EOF\n"), 1);
    ck_assert_str_eq(text + strlen(text) - 7, "\n# EOF\n");
    ck_assert_str_eq(open + strlen(open) - 7, "\n# EOF\n");
    free(text);
    free(open);
}
END_TEST

START_TEST(labels_are_quoted)
{
    put_pool("a\"b\\c\nd\xff", "\"", 1);
    char *text = metrics_text(&view, &figures, METRICS_TEXT);
    expect_line(text, "preforkd_pool_info{pool=\"a\\\"b\\\\c\\\\x0ad\\\\xff\",handler=\"\\\"\"} 1");
    free(text);
}
END_TEST

START_TEST(histograms)
{
    struct overview_pool *pool = &overview->pools[put_pool("web", "echo", 1)];
    histogram_count(&pool->counts.service, 50, 1);
    histogram_count(&pool->counts.service, 200, 2);
    histogram_count(&pool->counts.service, 100 * USEC_SECOND, 1);
    char *text = metrics_text(&view, &figures, METRICS_OPEN);
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"5e-05\"} 1");
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"0.0001\"} 1");
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"0.00025\"} 3");
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"1.0\"} 3");
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"60.0\"} 3");
    expect_line(text, "preforkd_service_time_seconds_bucket{pool=\"web\",le=\"+Inf\"} 4");
    expect_line(text, "preforkd_service_time_seconds_count{pool=\"web\"} 4");
    expect_line(text, "preforkd_service_time_seconds_sum{pool=\"web\"} 100.000450");
    free(text);
}
END_TEST

/* Of two pools with one name, the configured one is shown; of two removed ones, one. */
START_TEST(one_of_each_name)
{
    int first = put_pool("web", "echo", 1), second = put_pool("web", "echo", 2);
    overview->pools[put_pool("old", "echo", 1)].state = POOL_REMOVED;
    overview->pools[put_pool("old", "echo", 1)].state = POOL_REMOVED;
    overview->pools[first].state = POOL_REMOVED;
    char *text = metrics_text(&view, &figures, METRICS_TEXT);
    expect_line(text, "preforkd_workers_max{pool=\"web\"} 2");
    ck_assert_int_eq(occurrences(text, "preforkd_workers_max{pool=\"web\"}"), 1);
    ck_assert_int_eq(occurrences(text, "preforkd_workers_max{pool=\"old\"}"), 1);
    free(text);
    overview->pools[first].state = POOL_SERVING;
    overview->pools[second].state = POOL_REMOVED;
    text = metrics_text(&view, &figures, METRICS_TEXT);
    expect_line(text, "preforkd_workers_max{pool=\"web\"} 1");
    ck_assert_int_eq(occurrences(text, "preforkd_workers_max{pool=\"web\"}"), 1);
    free(text);
}
END_TEST

START_TEST(accept_queues_of_listeners)
{
    int web = put_pool("web", "echo", 1), mail = put_pool("mail", "echo", 1);
    static const int depths[] = {3, 4, 5, -1};
    put_queues(depths, 4);
    put_listener(0, web, "[::1]:80", 1);
    put_listener(1, mail, "[::1]:80", 2); /* in another network namespace, say */
    put_listener(2, web, "[::1]:80", 3);  /* a second socket of the same address */
    put_listener(3, mail, "[::1]:25", 4);
    put_listener(4, 999, "[::1]:99", 1);
    char *text = metrics_text(&view, &figures, METRICS_TEXT);
    expect_line(text, "preforkd_queue_depth{pool=\"web\",listener=\"[::1]:80\"} 8");
    expect_line(text, "preforkd_queue_capacity{pool=\"web\",listener=\"[::1]:80\"} 200");
    expect_line(text, "preforkd_queue_depth{pool=\"mail\",listener=\"[::1]:80\"} 4");
    ck_assert_int_eq(occurrences(text, "preforkd_queue_depth{"), 2);
    free(text);
}
END_TEST

static enum ailment ask(struct health *health, usec now)
{
    struct snapshot *snapshot = snapshot_take(&view, &figures);
    enum ailment ailment = health_of(health, 0, &snapshot->pools[0], now);
    free(snapshot);
    return ailment;
}

static const struct {
    const char *handler;
    int busy, idle, most, depth; /* depth -1: not known */
    usec taken;                  /* how long ago the last seat was taken */
    enum ailment at_once, later; /* later: two seconds after, without another one */
} looks[] = {
    {"echo", 1, 1, 2, 0, 5 * USEC_SECOND, AILS_NOTHING, AILS_NOTHING},
    {"echo", 2, 0, 2, 0, 5 * USEC_SECOND, AILS_NOTHING, AILS_NOTHING},
    {"echo", 2, 0, 2, 1, 5 * USEC_SECOND, AILS_FULL, AILS_FULL},
    {"echo", 2, 0, 2, -1, 5 * USEC_SECOND, AILS_FULL, AILS_FULL},
    {"echo", 2, 0, 2, 1, 1000, AILS_MAYBE_FULL, AILS_FULL},
    {"echo", 1, 1, 2, 1, 1000, AILS_MAYBE_FULL, AILS_FULL}, /* the free seat is taken */
    {"echo", 1, 1, 2, -1, 1000, AILS_NOTHING, AILS_NOTHING},
    {"echo", 0, 2, 2, 1, 1000, AILS_NOTHING, AILS_NOTHING},
    {"echo", 2, 0, 3, 9, 5 * USEC_SECOND, AILS_NOTHING, AILS_NOTHING}, /* it may grow */
    {"status", 2, 0, 2, 9, 5 * USEC_SECOND, AILS_NOTHING, AILS_NOTHING},
    {"agent", 2, 0, 2, 9, 5 * USEC_SECOND, AILS_NOTHING, AILS_NOTHING},
};

START_TEST(fullness)
{
    struct health health = {0};
    int workers = 0, place = put_pool("web", looks[_i].handler, looks[_i].most);
    for (int i = 0; i < looks[_i].busy; i++)
        put_worker(workers++, place, SLOT_BUSY, NOW - looks[_i].taken);
    for (int i = 0; i < looks[_i].idle; i++)
        put_worker(workers++, place, SLOT_IDLE, NOW - USEC_SECOND);
    put_listener(0, place, "[::1]:80", 1);
    put_queues(&looks[_i].depth, 1);
    ck_assert_int_eq(ask(&health, NOW), looks[_i].at_once);
    ck_assert_int_eq(ask(&health, NOW + 2 * USEC_SECOND), looks[_i].later);
}
END_TEST

/* One look with a free seat is enough. */
START_TEST(fullness_with_a_break)
{
    struct health health = {0};
    static const int depth = 1;
    int place = put_pool("web", "echo", 1);
    put_worker(0, place, SLOT_BUSY, NOW);
    put_listener(0, place, "[::1]:80", 1);
    put_queues(&depth, 1);
    ck_assert_int_eq(ask(&health, NOW), AILS_MAYBE_FULL);
    figures.queues.list[0].depth = 0;
    ck_assert_int_eq(ask(&health, NOW + USEC_SECOND / 2), AILS_NOTHING);
    figures.queues.list[0].depth = 1;
    board->slots[0].since = NOW + USEC_SECOND / 2;
    ck_assert_int_eq(ask(&health, NOW + USEC_SECOND), AILS_MAYBE_FULL);
    ck_assert_int_eq(ask(&health, NOW + 2 * USEC_SECOND), AILS_FULL);
}
END_TEST

START_TEST(other_ailments)
{
    struct health health = {0};
    static const enum ailment wanted[POOL_STATES] = {[POOL_DEGRADED] = AILS_DEGRADED,
                                                     [POOL_UNREACHABLE] = AILS_UNREACHABLE,
                                                     [POOL_DRAINED] = AILS_DRAINED};
    overview->pools[put_pool("web", "echo", 1)].state = (uint32_t)_i;
    ck_assert_int_eq(ask(&health, NOW), wanted[_i]);
}
END_TEST

int main(void)
{
    TCase *tcase = tcase_create("metrics");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, names_of_families);
    tcase_add_test(tcase, labels_are_quoted);
    tcase_add_test(tcase, histograms);
    tcase_add_test(tcase, one_of_each_name);
    tcase_add_test(tcase, accept_queues_of_listeners);
    tcase_add_loop_test(tcase, fullness, 0, sizeof looks / sizeof *looks);
    tcase_add_test(tcase, fullness_with_a_break);
    tcase_add_loop_test(tcase, other_ailments, 0, POOL_STATES);
    return unit_run("metrics", tcase);
}
