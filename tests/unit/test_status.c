#include "../../src/board/overview.h"
#include "../../src/ctl/report.h"
#include "../../src/ctl/terminal.h"
#include "../../src/reports/snapshot.h"
#include "../../src/reports/status.h"
#include "unit.h"
#include "unit_view.h"

#include "build-config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NOW (1000 * USEC_SECOND)

static void set_up(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    view_set_up();
    overview->master = 4711;
    overview->started = NOW - 90 * USEC_SECOND;
    overview->generation = 3;
    strcpy(overview->release, "1.2.3");
}

static void tear_down(void)
{
    view_tear_down();
}

static struct overview_pool *add_pool(const char *name, enum pool_state state, int workers)
{
    struct overview_pool *pool = &overview->pools[overview_add_pool(overview, name)];
    strcpy(pool->handler, "echo");
    pool->state = state;
    pool->state_since = NOW - 12 * USEC_SECOND;
    pool->target = pool->min_workers = pool->max_workers = workers;
    pool->seats = 1;
    pool->generation = 3;
    return pool;
}

static struct slot *add_worker(int number, int pool, enum slot_state state)
{
    struct slot *slot = &board->slots[number];
    overview->workers[number] = (struct overview_worker){.pid = 100 + number,
                                                         .state = SLOT_STARTING,
                                                         .pool = (uint32_t)pool,
                                                         .seat = (uint32_t)number,
                                                         .seats = 1,
                                                         .serial = SERIAL,
                                                         .generation = 3,
                                                         .born = NOW - 60 * USEC_SECOND};
    if (overview->workers_end <= (uint32_t)number)
        overview->workers_end = (uint32_t)number + 1;
    slot->state = state;
    slot->ready = state >= SLOT_IDLE;
    return slot;
}

static void serve(struct slot *slot, const char *ip, int port)
{
    slot->state = SLOT_BUSY;
    slot->since = NOW - 2500 * 1000;
    slot->peer = (struct slot_peer){.family = AF_INET, .port = (uint16_t)port, .uid = (uint32_t)-1};
    inet_pton(AF_INET, ip, slot->peer.ip);
}

/* The master's sample of a worker's request. */
static void look_at(struct slot *slot)
{
    overview->slow[5] = (struct slow){
        .slot = (uint32_t)(slot - board->slots),
        .since = slot->since,
        .sampled = NOW - USEC_SECOND / 2,
        .is_program = 1,
        .process = {.pid = 77, .command = "a\033b", .state = 'D'},
        .cpu = USEC_SECOND / 4,
        .wait = -1,
        .channel = "do_wait",
        .call = "wait4",
        .hidden = "secret",
        .child_count = 2,
        .children = {{78, "c", 'S'}, {79, "d", 'R'}},
    };
    overview->workers[slot - board->slots].slow = 6;
}

/* A pool with a worker of each kind, and one that can't start any. */
static void furnish(void)
{
    struct overview_pool *web = add_pool("web", POOL_SERVING, 4);
    struct overview_pool *mail = add_pool("mail", POOL_DEGRADED, 2);
    web->counts.accepted = 8;
    web->counts.served = 8;
    web->counts.refused[REFUSED_RATE] = 4;
    web->retirements = 6;
    mail->deaths = 7;
    mail->max_workers = 20;
    strcpy(mail->trouble, "can't chroot to /x: No such file or directory");
    serve(add_worker(0, 0, SLOT_IDLE), "192.0.2.7", 4321);
    look_at(&board->slots[0]);
    struct slot *idle = add_worker(1, 0, SLOT_IDLE);
    idle->accepted = 5;
    idle->bytes_in = 5;
    idle->bytes_out = 7;
    web->counts.bytes_out = 63;
    histogram_count(&idle->service, 50, 1);
    histogram_count(&idle->service, 100, 1);
    histogram_count(&web->counts.service, 100, 1);
    web->cpu_user = USEC_SECOND;
    web->cpu_system = USEC_SECOND / 2;
    histogram_count(&web->counts.service, 70 * USEC_SECOND, 1);
    struct slot *refusing = add_worker(2, 0, SLOT_STARTING);
    refusing->accepted = 2;
    refusing->refused[REFUSED_DENIED] = 2;
    add_worker(3, 0, SLOT_IDLE);
    overview->workers[3].retiring = 1;
    add_worker(5, 0, SLOT_BUSY);
    overview->workers[5].generation = 2;
    add_worker(9, 1, SLOT_WAITING);
    overview->workers[9].pid = 0;
    overview->workers[9].state = SLOT_WAITING;
    overview->listeners[0] = (struct overview_listener){
        .used = 1, .pool = 0, .inode = 77, .backlog = 4096, .text = "127.0.0.1:80"};
    overview->listeners[1] =
        (struct overview_listener){.used = 1, .pool = 1, .text = "unix:/run/mail.sock"};
    overview->listeners_end = 2;
}

START_TEST(lines_of_a_status)
{
    furnish();
    char *text = status_text(&view, NOW);
    ck_assert_str_eq(text, "preforkd 1.2.3, pid 4711, up 1m 30s, generation 3\n"
                           "pool web: serving, 2 of 4 workers ready, 1 busy\n"
                           "pool mail: degraded, 0 of 2 workers ready, 0 busy: can't chroot to /x: "
                           "No such file or directory\n");
    free(text);
}
END_TEST

/* Another request, an idle worker, an entry being written, another worker's or an impossible one:
 * nothing is slow. */
START_TEST(who_is_not_slow)
{
    struct snapshot_worker worker;
    struct slow slow;
    furnish();
    struct slot *slot = &board->slots[0];
    for (int i = 0; i < 6; i++) {
        serve(slot, "192.0.2.7", 4321);
        look_at(slot);
        overview->slow[5].turn = 2;
        switch (i) {
        case 1: slot->since++; break;
        case 2: slot->state = SLOT_IDLE; break;
        case 3: overview->slow[5].turn = 3; break;
        case 4: overview->slow[5].slot = 1; break;
        case 5: overview->workers[0].slow = SCOREBOARD_SLOW + 1; break;
        }
        ck_assert(snapshot_worker(&view, 0, &worker));
        ck_assert_int_eq(snapshot_slow(overview, &worker, &slow), i == 0);
    }
}
END_TEST

static enum pool_state state_of_pool(char trouble[static SCOREBOARD_REASON])
{
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    enum pool_state state = snapshot->pools[0].state;
    snprintf(trouble, SCOREBOARD_REASON, "%.100s", snapshot->pools[0].trouble);
    free(snapshot);
    return state;
}

/* A failure counts if it is recent, repeated, and of a worker that goes on. */
START_TEST(programs_that_cant_be_started)
{
    char trouble[SCOREBOARD_REASON];
    struct overview_pool *pool = add_pool("web", POOL_SERVING, 2);
    struct slot *slot = add_worker(0, 0, SLOT_IDLE);
    add_worker(1, 0, SLOT_IDLE);
    slot->since = clock_now();
    slot->start_error = ENOENT;
    slot->failed_starts = 2;
    ck_assert_int_eq(state_of_pool(trouble), POOL_SERVING);
    slot->failed_starts = 3;
    ck_assert_int_eq(state_of_pool(trouble), POOL_DEGRADED);
    ck_assert_str_eq(trouble, "its program can't be started: No such file or directory");
    overview->workers[0].retiring = 1;
    ck_assert_int_eq(state_of_pool(trouble), POOL_SERVING);
    overview->workers[0].retiring = 0;
    pool->state = POOL_DRAINED;
    ck_assert_int_eq(state_of_pool(trouble), POOL_DRAINED);
    pool->state = POOL_SERVING;
    usec long_ago = clock_now() - 61 * USEC_SECOND;
    overview->workers[0].born = long_ago;
    slot->since = long_ago;
    ck_assert_int_eq(state_of_pool(trouble), POOL_SERVING);
}
END_TEST

/* Between a fork and the master's note of the pid, whatever the child does, the slot's counts are
 * in the sum. */
START_TEST(counts_while_a_worker_is_born)
{
    static const enum slot_state states[] = {SLOT_WAITING, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY};
    add_pool("web", POOL_SERVING, 1);
    struct slot *slot = add_worker(0, 0, SLOT_IDLE);
    slot->accepted = 5;
    overview->workers[0].pid = 0;
    overview->workers[0].state = SLOT_WAITING;
    for (unsigned i = 0; i < sizeof states / sizeof *states; i++) {
        slot->state = states[i];
        struct snapshot *snapshot = snapshot_take(&view, NULL);
        ck_assert_uint_eq(snapshot->pools[0].counts.accepted, 5);
        ck_assert_int_eq(snapshot->pools[0].waiting, 1);
        ck_assert_int_eq(snapshot_ready(&snapshot->pools[0]), 0);
        free(snapshot);
    }
}
END_TEST

/* A worker chooses its own start time: no state is older than the worker. */
START_TEST(no_worker_does_what_it_does_since_before_its_start)
{
    struct snapshot_worker worker;
    add_pool("web", POOL_SERVING, 1);
    struct slot *slot = add_worker(0, 0, SLOT_IDLE);
    static const usec words[] = {INT64_MIN, -1, 1};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        slot->since = words[i];
        ck_assert(snapshot_worker(&view, 0, &worker));
        ck_assert_int_eq(worker.since, overview->workers[0].born);
    }
    slot->since = NOW;
    ck_assert(snapshot_worker(&view, 0, &worker));
    ck_assert_int_eq(worker.since, NOW);
}
END_TEST

/* CPU time of living and dead workers: none before the first sample, unknown if hidden; and no
 * reporter shows less than another did before. */
START_TEST(processor_time)
{
    struct procstat_process list[2] = {
        {100, NOW - 60 * USEC_SECOND, NOW - 2 * USEC_SECOND, 3000, 400, 4096}, {0}};
    struct procstat figures = {
        .processes = true, .shown = board->shown, .looked_at = NOW, .list = list, .room = 2};
    struct overview_pool *pool = add_pool("web", POOL_SERVING, 2);
    pool->cpu_user = 10000;
    add_worker(0, 0, SLOT_IDLE);
    struct snapshot *snapshot = snapshot_take(&view, &figures);
    ck_assert_int_eq(snapshot->pools[0].cpu_user, 13000);
    ck_assert_int_eq(snapshot->pools[0].cpu_system, 400);
    ck_assert_int_eq(snapshot->pools[0].memory, 4096);
    ck_assert_int_eq(snapshot->pools[0].age, 2 * USEC_SECOND);
    free(snapshot);
    add_worker(1, 0, SLOT_IDLE);
    list[0].pid = 99; /* an earlier worker in the same slot */
    snapshot = snapshot_take(&view, &figures);
    ck_assert_int_eq(snapshot->pools[0].cpu_user, 13000);
    ck_assert_int_eq(snapshot->pools[0].memory, 0);
    ck_assert_int_eq(snapshot->pools[0].age, 60 * USEC_SECOND);
    free(snapshot);
    pool->cpu_user = INT64_MAX; /* bounded, so that it can be added to */
    snapshot = snapshot_take(&view, &figures);
    ck_assert_int_gt(snapshot->pools[0].cpu_user, 0);
    ck_assert_int_le(snapshot->pools[0].cpu_user, INT64_MAX / 2);
    free(snapshot);
    pool->cpu_user = 10000;
    list[0].pid = 100;
    list[0].read_at = -1;
    snapshot = snapshot_take(&view, &figures);
    ck_assert_int_eq(snapshot->pools[0].age, -1);
    free(snapshot);
}
END_TEST

/* A worker of several seats is one worker, busy while one of them is; its counts are the pool's.
 * Its longest connection represents it. */
START_TEST(workers_of_several_seats)
{
    struct overview_pool *pool = add_pool("web", POOL_SERVING, 2);
    pool->model = MODEL_EVENT;
    pool->seats = 4;
    add_worker(0, 0, SLOT_IDLE);
    add_worker(1, 0, SLOT_IDLE);
    for (int i = 0; i < 2; i++) {
        overview->workers[i].seats = 4;
        overview->workers[i].seat = 8 * (uint32_t)i;
        for (int seat = 0; seat < 4; seat++) {
            struct slot *slot = &board->slots[8 * i + seat];
            slot->state = SLOT_IDLE;
            slot->ready = seat == 0;
            slot->accepted = slot->served = 1;
        }
    }
    serve(&board->slots[9], "192.0.2.7", 1);
    serve(&board->slots[11], "192.0.2.8", 2);
    board->slots[11].since = NOW - 7 * USEC_SECOND;
    board->slots[12].state = SLOT_BUSY;                               /* nobody's seat */
    board->slots[10].accepted = board->slots[10].served = UINT64_MAX; /* impossible counts */

    struct snapshot_worker worker;
    ck_assert(snapshot_worker(&view, 1, &worker));
    ck_assert_int_eq(worker.state, SLOT_BUSY);
    ck_assert_uint_eq(worker.busy, 2);
    ck_assert_uint_eq(worker.seats, 4);
    ck_assert_int_eq(worker.since, NOW - 7 * USEC_SECOND);
    ck_assert_uint_eq(worker.peer.port, 2);
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    ck_assert_int_eq(snapshot->pools[0].busy, 1);
    ck_assert_int_eq(snapshot->pools[0].idle, 1);
    ck_assert_int_eq(snapshot->pools[0].seats, 8);
    ck_assert_int_eq(snapshot->pools[0].seats_busy, 2);
    ck_assert_int_eq(snapshot_most_seats(&snapshot->pools[0]), 8);
    ck_assert_uint_eq(snapshot->pools[0].counts.served, 7);
    free(snapshot);
    char *text = status_text(&view, NOW);
    ck_assert_ptr_nonnull(
        strstr(text, "pool web: serving, 2 of 2 workers ready, 2 of 8 connections busy\n"));
    free(text);
    for (int seat = 0; seat < 12; seat++)
        board->slots[seat].state = SLOT_BUSY;
    text = status_text(&view, NOW);
    ck_assert_ptr_nonnull(strstr(text, "pool web: full, "));
    free(text);
    overview->workers[1].seat = SCOREBOARD_SLOTS - 3; /* beyond the end of the scoreboard */
    ck_assert(snapshot_worker(&view, 1, &worker));
    ck_assert_ptr_null(worker.slot);
}
END_TEST

/* No free seat, and no room for more, since the last seat was taken. */
START_TEST(a_full_pool)
{
    add_pool("web", POOL_SERVING, 2);
    serve(add_worker(0, 0, SLOT_IDLE), "192.0.2.7", 1);
    struct slot *last = add_worker(1, 0, SLOT_IDLE);
    char *text = status_text(&view, NOW);
    ck_assert_ptr_nonnull(strstr(text, " serving, "));
    ck_assert_ptr_null(strstr(text, "full"));
    free(text);
    serve(last, "192.0.2.7", 2);
    last->since = NOW - 300 * 1000;
    text = status_text(&view, NOW);
    ck_assert_ptr_nonnull(strstr(text, "\npool web: full, "));
    free(text);
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    ck_assert_int_eq(snapshot->pools[0].state, POOL_FULL);
    ck_assert_int_eq(snapshot->pools[0].state_since, NOW - 300 * 1000);
    free(snapshot);
}
END_TEST

static void die(int pid)
{
    struct death death = {
        .when = 1795000000 * USEC_SECOND,
        .pool = "web",
        .pid = pid,
        .generation = 3,
        .status = SIGSEGV,
        .age = 93 * USEC_SECOND + 100000,
        .served = 382,
        .cpu_user = 1230 * 1000,
        .cpu_system = 20 * 1000,
        .memory = 12897484,
        .was_ready = 1,
        .peer = {.family = AF_UNIX, .uid = 1000},
        .why = "killed by signal 11 (Segmentation fault)",
        .core = "none: limits { core = 0 }",
        .last = "oh no",
    };
    deaths_write(overview, &death);
}

START_TEST(lines_of_deaths)
{
    char *text = deaths_text(overview);
    ck_assert_str_eq(text, "no worker has ended unexpectedly\n");
    free(text);
    die(9);
    text = deaths_text(overview);
    ck_assert_str_eq(text, "2026-11-18T11:06:40+00:00 pool web: worker 9 killed by signal 11 "
                           "(Segmentation fault)\n");
    free(text);
}
END_TEST

/* Bytes that a hostile worker may leave in its scoreboard. */
static const int bytes[] = {0x01, 0x0a, 0x1b, 0x22, 0x5c, 0x7f, 0x80, 0xc3, 0xed, 0xff};

static void spoil(int byte)
{
    memset(board, byte, offsetof(struct scoreboard, slots));
    memset(board->slots, byte, 20 * sizeof *board->slots);
}

static const struct scoreboard *no_board(void *owner, uint32_t number, uint64_t serial)
{
    (void)owner, (void)number, (void)serial;
    return NULL;
}

static void check_plain(char *text)
{
    ck_assert_ptr_nonnull(text);
    for (const char *at = text; *at; at++)
        ck_assert((*at >= 0x20 || *at == '\n') && *at != 0x7f);
    free(text);
}

START_TEST(hostile_text_is_plain)
{
    furnish();
    die(1);
    spoil(bytes[_i]);
    check_plain(status_text(&view, NOW));
    check_plain(deaths_text(overview));
}
END_TEST

/* A reader can only read. */
START_TEST(reading_is_enough)
{
    furnish();
    die(1);
    const struct overview *read = overview_map(overview_fd);
    ck_assert_ptr_nonnull(read);
    view.overview = read;
    ck_assert_int_eq(mprotect(board, sizeof *board, PROT_READ), 0);
    check_plain(status_text(&view, NOW));
    check_plain(deaths_text(read));
    free(status_json(&view, NULL, STATUS_WHOLE, NOW));
    free(deaths_json(read));
    munmap((void *)read, sizeof *read);
}
END_TEST

/* Without a scoreboard, the report has only what the master knows. */
START_TEST(without_scoreboards)
{
    furnish();
    view.board = no_board;
    char *text = status_text(&view, NOW);
    ck_assert_ptr_nonnull(strstr(text, "pool mail: degraded, 0 of 2 workers ready"));
    check_plain(text);
    struct snapshot *snapshot = snapshot_take(&view, NULL);
    ck_assert_uint_eq(snapshot->pools[0].counts.accepted, 8);
    ck_assert_int_eq(snapshot->pools[0].busy, 0);
    free(snapshot);
}
END_TEST

#if HAVE_JANSSON

#include <jansson.h>

/* One line, and JSON as strict as jansson is. */
static json_t *parse(char *text)
{
    json_error_t error;
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
    json_t *document = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    ck_assert_msg(document != NULL, "%s: %s", error.text, text);
    free(text);
    return document;
}

static const char *printed(const json_t *object, const char *key)
{
    static char *text;
    free(text);
    text = json_dumps(json_object_get(object, key), JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    return text ? text : "missing";
}

static void check_keys(const json_t *object, const char *const (*expected)[2])
{
    for (int i = 0; expected[i][0]; i++)
        ck_assert_msg(strcmp(printed(object, expected[i][0]), expected[i][1]) == 0, "%s is %s",
                      expected[i][0], printed(object, expected[i][0]));
}

START_TEST(json_of_a_status)
{
    static const char *const head[][2] = {
        {"version", "1"},   {"preforkd", "\"1.2.3\""}, {"pid", "4711"},
        {"uptime", "90.0"}, {"generation", "3"},       {"upgrades", "0"},
        {"deaths", "0"},    {"ledger", "[]"},          {NULL, NULL}};
    static const char *const reloads[][2] = {
        {"done", "1"}, {"refused", "1"}, {"refusal", "null"}, {NULL, NULL}};
    static const char *const web[][2] = {
        {"name", "\"web\""},  {"state", "\"serving\""}, {"seconds", "12.0"},
        {"trouble", "null"},  {"ready", "2"},           {"busy", "1"},
        {"idle", "1"},        {"starting", "1"},        {"seats", "2"},
        {"busy_seats", "1"},  {"max_seats", "4"},       {"model", "\"process\""},
        {"retiring", "2"},    {"accepted", "15"},       {"served", "8"},
        {"retirements", "6"}, {"bytes_in", "5"},        {"bytes_out", "70"},
        {"cpu", "null"},      {"memory", "null"},       {NULL, NULL}};
    static const char *const wait[][2] = {
        {"count", "0"}, {"sum", "0.0"}, {"p50", "null"}, {"p99", "null"}, {NULL, NULL}};
    static const char *const service[][2] = {
        {"count", "4"},
        {"sum", "70.00025"},
        {"p50", "7.5e-5"},
        {"p99", "60.0"},
        {"buckets",
         "[[5e-5, 1], [0.0001, 3], [0.00025, 3], [0.0005, 3], [0.001, 3], [0.0025, 3], [0.005, "
         "3], [0.01, 3], [0.025, 3], [0.05, 3], [0.1, 3], [0.25, 3], [0.5, 3], [1.0, 3], [2.5, 3], "
         "[5.0, 3], [10.0, 3], [30.0, 3], [60.0, 3], [null, 4]]"},
        {NULL, NULL}};
    static const char *const worker[][2] = {{"slot", "0"},
                                            {"pid", "100"},
                                            {"state", "\"busy\""},
                                            {"retiring", "false"},
                                            {"seconds", "2.5"},
                                            {"age", "60.0"},
                                            {"peer", "\"192.0.2.7:4321\""},
                                            {"program", "null"},
                                            {"status", "null"},
                                            {"seats", "1"},
                                            {"busy", "1"},
                                            {NULL, NULL}};
    static const char *const slow[][2] = {
        {"seconds", "2.5"},
        {"sampled", "0.5"},
        {"program", "77"},
        {"command", "\"a\\\\x1bb\""},
        {"state", "\"disk sleep\""},
        {"wchan", "\"do_wait\""},
        {"syscall", "\"wait4\""},
        {"cpu", "0.25"},
        {"wait", "null"},
        {"hidden", "\"secret\""},
        {"children", "[{\"pid\": 78, \"command\": \"c\", \"state\": \"sleeping\"}, {\"pid\": 79, "
                     "\"command\": \"d\", \"state\": \"running\"}]"},
        {NULL, NULL}};
    static const char *const listener[][2] = {{"address", "\"127.0.0.1:80\""},
                                              {"backlog", "4096"},
                                              {"inode", "77"},
                                              {"queue", "3"},
                                              {"room", "128"},
                                              {NULL, NULL}};
    static struct accept_queue queue = {.inode = 77, .depth = 3, .room = 128};
    static const struct procstat figures = {.queues = {.list = &queue, .count = 1}};
    furnish();
    overview_note_reload(overview, "no");
    overview_note_reload(overview, NULL);
    json_t *document = parse(status_json(&view, &figures, STATUS_WHOLE, NOW));
    check_keys(document, head);
    check_keys(json_object_get(document, "reloads"), reloads);
    json_t *pool = json_array_get(json_object_get(document, "pools"), 0);
    check_keys(pool, web);
    check_keys(json_object_get(pool, "service_time"), service);
    check_keys(json_object_get(pool, "queue_wait"), wait);
    ck_assert_uint_eq(json_array_size(json_object_get(pool, "workers")), 5);
    json_t *first = json_array_get(json_object_get(pool, "workers"), 0);
    check_keys(first, worker);
    check_keys(json_object_get(first, "slow"), slow);
    ck_assert_str_eq(printed(json_array_get(json_object_get(pool, "workers"), 1), "slow"), "null");
    check_keys(json_array_get(json_object_get(pool, "listeners"), 0), listener);
    pool = json_array_get(json_object_get(document, "pools"), 1);
    ck_assert_str_eq(printed(pool, "waiting"), "1");
    json_decref(document);
}
END_TEST

START_TEST(json_of_deaths)
{
    static const char *const death[][2] = {
        {"number", "1"},        {"time", "\"2026-11-18T11:06:40+00:00\""},
        {"pool", "\"web\""},    {"pid", "9"},
        {"exit", "null"},       {"signal", "\"SEGV\""},
        {"cause", "\"own\""},   {"core", "false"},
        {"age", "93.1"},        {"served", "382"},
        {"cpu_user", "1.23"},   {"cpu_system", "0.02"},
        {"memory", "12897484"}, {"peer", "\"unix,uid=1000\""},
        {"last", "\"oh no\""},  {"out_of_memory", "false"},
        {"ready", "true"},      {NULL, NULL}};
    for (int pid = 9; pid < 80; pid++)
        die(pid);
    json_t *document = parse(deaths_json(overview));
    ck_assert_str_eq(printed(document, "count"), "71");
    json_t *deaths = json_object_get(document, "deaths");
    ck_assert_uint_eq(json_array_size(deaths), SCOREBOARD_DEATHS);
    ck_assert_str_eq(printed(json_array_get(deaths, 63), "pid"), "79");
    json_decref(document);
    memset(overview->deaths, 0, sizeof overview->deaths);
    overview->deaths_written = 0;
    die(9);
    document = parse(deaths_json(overview));
    check_keys(json_array_get(json_object_get(document, "deaths"), 0), death);
    json_decref(document);
}
END_TEST

START_TEST(hostile_json_is_json)
{
    furnish();
    die(1);
    spoil(bytes[_i]);
    json_decref(parse(status_json(&view, NULL, STATUS_WHOLE, NOW)));
    json_decref(parse(deaths_json(overview)));
}
END_TEST

/* As preforkctl shows it. */

enum { PLAIN = false, COLOURED = true };

static char *show(char *json, bool coloured)
{
    ck_assert_ptr_nonnull(json);
    char *text = report_show(json, strlen(json), &(struct view_options){.coloured = coloured});
    free(json);
    return text;
}

static char *shown(bool coloured)
{
    return show(status_json(&view, NULL, STATUS_BRIEF, NOW), coloured);
}

static char *shown_deaths(void)
{
    return show(deaths_json(overview), PLAIN);
}

START_TEST(text_of_a_status)
{
    static const char expected[] =
        "preforkd 1.2.3, pid 4711, up 1m 30s, generation 3\n"
        "last reload: 1970-01-01T00:00:01+00:00, failed: a.conf:3: no\n"
        "\n"
        "POOL  HANDLER  STATE     SEATS         BUSY  IDLE  READY  SIZE\n"
        "web   echo     serving   [##--------]     1     1    2/4     4\n"
        "mail  echo     degraded  [----------]     0     0    0/2  2-20\n"
        "\n"
        "POOL  START  RETIRE  ACCEPTED  SERVED  ERRORS  REFUSED  RETIRED  DIED\n"
        "web       1       2        15       8       0        6        6     0\n"
        "mail      0       0         0       0       0        0        0     7\n"
        "\n"
        "POOL    P50    P99  WAIT P99   IN   OUT  EXITED CPU\n"
        "web   75 us  1m 0s         -  5 B  70 B       1.5 s\n"
        "mail      -      -         -  0 B   0 B        0 ms\n"
        "\n"
        "pool mail: degraded for 12.0 s: can't chroot to /x: No such file or directory\n"
        "\n"
        "pool web: worker 100 is slow, for 2.5 s, serving 192.0.2.7:4321\n"
        "  a\\x1bb 77 is disk sleep in do_wait (wait4), 0.25 s of CPU, children: c, d; secret\n"
        "\n"
        "LISTENER             POOL  QUEUE         WAITING\n"
        "127.0.0.1:80         web   [----------]   ?/4096\n"
        "unix:/run/mail.sock  mail  [----------]      ?/0\n";
    furnish();
    overview_note_reload(overview, "a.conf:3: no");
    overview->reloaded = USEC_SECOND;
    char *text = shown(PLAIN);
    ck_assert_str_eq(text, expected);
    free(text);
}
END_TEST

/* Nobody counts the connections of app, and the bytes of a program. */
START_TEST(text_of_what_is_not_counted)
{
    static const char counts[] =
        "\nweb       0       0         -       -       -        -        0     0\n"
        "mail      0       0         0       0       0        0        0     0\n";
    static const char times[] = "\nweb     -    -         -   -    -        0 ms\n"
                                "mail    -    -         -   -    -        0 ms\n";
    add_pool("web", POOL_SERVING, 1);
    add_pool("mail", POOL_SERVING, 1);
    snprintf(overview->pools[0].handler, sizeof overview->pools[0].handler, "app");
    snprintf(overview->pools[1].handler, sizeof overview->pools[1].handler, "exec");
    char *text = shown(PLAIN);
    ck_assert_msg(strstr(text, counts) && strstr(text, times), "%s", text);
    free(text);
}
END_TEST

/* Pools with templates get a table more. */
START_TEST(text_of_templates)
{
    static const char expected[] = "POOL  FORKS  COLD STARTS  RESTARTS\n"
                                   "web      12            3         1\n"
                                   "\n"
                                   "pool mail:";
    furnish();
    board->slots[1].templates.counts[TEMPLATE_FORKS] = 12;
    board->slots[1].templates.counts[TEMPLATE_COLD_STARTS] = 3;
    board->slots[1].templates.counts[TEMPLATE_RESTARTS] = 1;
    char *text = shown(PLAIN);
    ck_assert_ptr_nonnull(strstr(text, expected));
    free(text);
}
END_TEST

START_TEST(text_of_a_status_of_nothing)
{
    char *text = shown(PLAIN);
    ck_assert_str_eq(text, "preforkd 1.2.3, pid 4711, up 1m 30s, generation 3\n");
    free(text);
}
END_TEST

/* Coloured text differs only by escape sequences. */
START_TEST(colours_change_nothing_else)
{
    furnish();
    char *plain = shown(PLAIN);
    char *coloured = shown(COLOURED);
    size_t colours = 0;
    char *to = coloured;
    for (const char *from = coloured; *from;) {
        size_t length = colour_length(from, strlen(from));
        colours += length > 0;
        if (length)
            from += length;
        else
            *to++ = *from++;
    }
    *to = '\0';
    ck_assert_uint_gt(colours, 20);
    ck_assert_str_eq(coloured, plain);
    free(plain);
    free(coloured);
}
END_TEST

START_TEST(text_of_deaths)
{
    static const char expected[] =
        "2026-11-18T11:06:40+00:00 pool web: worker 9 killed by signal 11 (Segmentation fault)\n"
        "  age 1m 33s, 382 served, generation 3\n"
        "  CPU 1.2 s user and 20 ms system, memory 12.3 MiB at its peak\n"
        "  core: none: limits { core = 0 }\n"
        "  serving unix,uid=1000\n"
        "  last line of standard error: oh no\n";
    die(9);
    char *text = shown_deaths();
    ck_assert_str_eq(text, expected);
    free(text);
}
END_TEST

START_TEST(text_of_no_deaths)
{
    char *text = shown_deaths();
    ck_assert_str_eq(text, "no worker has ended unexpectedly\n");
    free(text);
}
END_TEST

START_TEST(a_full_pool_is_shown)
{
    add_pool("web", POOL_SERVING, 1);
    struct slot *slot = add_worker(0, 0, SLOT_IDLE);
    serve(slot, "192.0.2.7", 1);
    slot->since = NOW - 300 * 1000;
    char *text = shown(PLAIN);
    ck_assert_ptr_nonnull(strstr(text, "\npool web: full for 300 ms\n"));
    free(text);
}
END_TEST

START_TEST(without_scoreboards_it_is_shown)
{
    furnish();
    view.board = no_board;
    char *text = shown(PLAIN);
    ck_assert_ptr_nonnull(strstr(text, "pool mail: degraded for 12.0 s"));
    check_plain(text);
}
END_TEST

/* A brief status lists only workers with something to report, and is otherwise the same. */
START_TEST(a_brief_status)
{
    furnish();
    die(9);
    char *whole = show(status_json(&view, NULL, STATUS_WHOLE, NOW), PLAIN);
    char *brief = shown(PLAIN);
    ck_assert_str_eq(whole, brief);
    free(whole);
    free(brief);
    json_t *document = parse(status_json(&view, NULL, STATUS_BRIEF, NOW));
    json_t *pool = json_array_get(json_object_get(document, "pools"), 0);
    json_t *workers = json_object_get(pool, "workers");
    ck_assert_uint_eq(json_array_size(workers), 1);
    ck_assert_str_eq(printed(json_array_get(workers, 0), "pid"), "100");
    ck_assert_ptr_null(json_object_get(document, "ledger"));
    ck_assert_str_eq(printed(document, "deaths"), "1");
    json_decref(document);
}
END_TEST

START_TEST(hostile_text_is_shown_plain)
{
    furnish();
    die(1);
    spoil(bytes[_i]);
    check_plain(shown(PLAIN));
    check_plain(shown_deaths());
}
END_TEST

#endif

int main(void)
{
    enum { BYTES = sizeof bytes / sizeof *bytes };
    TCase *tcase = tcase_create("status");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, no_worker_does_what_it_does_since_before_its_start);
    tcase_add_test(tcase, lines_of_a_status);
    tcase_add_test(tcase, workers_of_several_seats);
    tcase_add_test(tcase, a_full_pool);
    tcase_add_test(tcase, who_is_not_slow);
    tcase_add_test(tcase, programs_that_cant_be_started);
    tcase_add_test(tcase, counts_while_a_worker_is_born);
    tcase_add_test(tcase, processor_time);
    tcase_add_test(tcase, lines_of_deaths);
    tcase_add_loop_test(tcase, hostile_text_is_plain, 0, BYTES);
    tcase_add_test(tcase, reading_is_enough);
    tcase_add_test(tcase, without_scoreboards);
#if HAVE_JANSSON
    tcase_add_test(tcase, json_of_a_status);
    tcase_add_test(tcase, json_of_deaths);
    tcase_add_loop_test(tcase, hostile_json_is_json, 0, BYTES);
    tcase_add_test(tcase, text_of_a_status);
    tcase_add_test(tcase, text_of_what_is_not_counted);
    tcase_add_test(tcase, text_of_templates);
    tcase_add_test(tcase, text_of_a_status_of_nothing);
    tcase_add_test(tcase, a_full_pool_is_shown);
    tcase_add_test(tcase, colours_change_nothing_else);
    tcase_add_test(tcase, text_of_deaths);
    tcase_add_test(tcase, text_of_no_deaths);
    tcase_add_test(tcase, a_brief_status);
    tcase_add_test(tcase, without_scoreboards_it_is_shown);
    tcase_add_loop_test(tcase, hostile_text_is_shown_plain, 0, BYTES);
#endif
    tcase_set_timeout(tcase, 120);
    return unit_run("status", tcase);
}
