#include "stderr_log.h"

#include "../base/arena.h"
#include "../base/fd.h"
#include "../base/text.h"
#include "../config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_AT_ONCE = 16 * 1024,  /* so that one chatty worker does not keep the master busy */
    READ_AT_DEATH = 64 * 1024, /* a pipe's default size (pipe(7)) */
};

/* A line without its end is logged after this time. */
#define UNFINISHED_USEC USEC_SECOND

/* A pipe whose worker has ended. */
struct detached {
    struct stderr_log lines;
    struct detached *next;
    char pool[POOL_NAME_MAX + 1];
};

struct stderr_log_set {
    struct loop *loop;
    struct stderr_log *soonest, *latest;      /* the list of those with unfinished lines */
    struct detached *detached;                /* the oldest first */
    struct stderr_log_rate rate;              /* of detached pipes whose pool is gone */
    struct stderr_log *fresh[FD_MESSAGE_MAX]; /* opened in this round */
    int fresh_count;
    int flight[2]; /* the socket that holds pipes in flight; -1: none yet */
    struct stderr_log *in_flight, *last_in_flight;
    usec flight_end; /* when they are taken back at the latest */
};

struct stderr_log_set *stderr_log_set_new(struct loop *loop)
{
    struct stderr_log_set *set = arena_unforked(sizeof *set);
    if (!set)
        return NULL;
    set->loop = loop;
    set->flight[0] = set->flight[1] = -1;
    return set;
}

/* --- the rate --------------------------------------------------------------------------------- */

static unsigned most_of(const struct stderr_log_rate *rate)
{
    return rate->is_output ? STDERR_LOG_A_SECOND_OUTPUT : STDERR_LOG_A_SECOND;
}

usec stderr_log_rate_step(struct stderr_log_rate *rate, const char *pool, usec now)
{
    if (!rate->missed)
        return USEC_NEVER;
    if (now < rate->window + USEC_SECOND)
        return rate->window + USEC_SECOND;
    log_warning("pool %s: %u lines of %s were left out, more than %u in a second pool=%s missed=%u",
                pool, rate->missed, rate->is_output ? "its programs' output" : "standard error",
                most_of(rate), pool, rate->missed);
    rate->missed = 0;
    return USEC_NEVER;
}

static bool may_log(struct stderr_log_rate *rate, const char *pool)
{
    usec now = clock_now();
    if (now >= rate->window + USEC_SECOND) {
        stderr_log_rate_step(rate, pool, now);
        rate->window = now;
        rate->logged = 0;
    }
    if (rate->logged < most_of(rate)) {
        rate->logged++;
        return true;
    }
    if (rate->missed++ == 0 && rate->changed)
        *rate->changed = true;
    return false;
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool is_unfinished(const struct stderr_log *lines)
{
    return lines->length > 0 || lines->cutting;
}

/* Control characters are escaped as \xNN before printing, because a NUL would end the text. */
static void end_line(struct stderr_log *lines)
{
    char text[STDERR_LOG_LENGTH + 5];
    if (lines->length && lines->line[lines->length - 1] == '\r')
        lines->length--;
    if (!is_unfinished(lines))
        return;
    text_escape(lines->last, sizeof lines->last, lines->line, (size_t)lines->length);
    if (may_log(lines->rate, lines->pool)) {
        size_t kept = text_escape(text, sizeof text, lines->line, (size_t)lines->length);
        log_notice("pool %s: worker %d: %s%s pool=%s pid=%d", lines->pool, (int)lines->pid, text,
                   lines->cutting || kept < (size_t)lines->length ? " [cut]" : "", lines->pool,
                   (int)lines->pid);
    }
    lines->length = 0;
    lines->cutting = false;
}

/* Adds bytes to the line, and logs each line that ends. */
static void add_bytes(struct stderr_log *lines, const char *data, size_t size)
{
    const char *end = data + size;
    while (data < end) {
        const char *newline = memchr(data, '\n', (size_t)(end - data));
        int run = (int)((newline ? newline : end) - data);
        int room = STDERR_LOG_LENGTH - lines->length;
        lines->cutting = lines->cutting || run > room;
        int kept = run < room ? run : room;
        memcpy(lines->line + lines->length, data, (size_t)kept);
        lines->length += kept;
        data += run;
        if (newline) {
            end_line(lines);
            data++;
        }
    }
}

static uint64_t turn_of(const struct stderr_log *lines)
{
    uint64_t connections = lines->accepted ? *lines->accepted : 0;
    return connections + (lines->took ? *lines->took : 0);
}

/* Returns 0 if the pipe is empty, a negative number at the end of the stream.
 *
 * A worker runs one program after another on the same pipe. A program may end without ending its
 * line, and the next one's bytes must not be appended to that. If bytes of the program are still in
 * the pipe, the worker writes a line's end behind them (handlers/program). If none are, we had read
 * all of them before the next connection was accepted: so the turn taken before that read is less
 * than the turn taken after the next program's first byte was read. The two differ within one
 * program's line only if a connection was accepted, its program was started, and wrote, between our
 * first look at the turn and our read. Then that line is logged in two. A worker that lies about
 * its turn harms only its own lines. */
static ssize_t read_some(struct stderr_log *lines)
{
    char data[4096];
    uint64_t before = turn_of(lines);
    ssize_t n = read(lines->watch.fd, data, sizeof data);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    if (n == 0)
        return -1;
    if (!lines->line)
        lines->line = malloc(STDERR_LOG_LENGTH);
    if (lines->line) {
        if (is_unfinished(lines) && turn_of(lines) != lines->turn)
            end_line(lines);
        add_bytes(lines, data, (size_t)n);
        lines->turn = before;
    }
    return n;
}

static ssize_t read_up_to(struct stderr_log *lines, ssize_t most)
{
    ssize_t n = 1, sum = 0;
    while (sum < most && (n = read_some(lines)) > 0)
        sum += n;
    return n;
}

/* --- lines without an end --------------------------------------------------------------------- */

static void leave_unfinished(struct stderr_log *lines)
{
    struct stderr_log_set *set = lines->set;
    if (!lines->due)
        return;
    *(lines->sooner ? &lines->sooner->later : &set->soonest) = lines->later;
    *(lines->later ? &lines->later->sooner : &set->latest) = lines->sooner;
    lines->due = 0;
}

/* All lines wait for the same time: so the list, in order of arrival, is in order of deadline. */
static void note_unfinished(struct stderr_log *lines)
{
    struct stderr_log_set *set = lines->set;
    leave_unfinished(lines);
    if (!is_unfinished(lines))
        return;
    lines->due = clock_now() + UNFINISHED_USEC;
    lines->sooner = set->latest;
    lines->later = NULL;
    *(set->latest ? &set->latest->later : &set->soonest) = lines;
    set->latest = lines;
}

static void finish(struct stderr_log *lines)
{
    leave_unfinished(lines);
    end_line(lines);
}

void stderr_log_flush(struct stderr_log_set *set)
{
    while (set->soonest)
        finish(set->soonest);
}

usec stderr_log_step(struct stderr_log_set *set, usec now)
{
    stderr_log_rate_step(&set->rate, "(removed)", now);
    while (set->soonest && set->soonest->due <= now)
        finish(set->soonest);
    return set->soonest ? set->soonest->due : USEC_NEVER;
}

/* --- the pipes -------------------------------------------------------------------------------- */

static void close_pipe(struct stderr_log *lines)
{
    if (lines->watch.fd < 0)
        return;
    loop_remove(lines->set->loop, &lines->watch);
    close(lines->watch.fd);
    lines->watch.fd = -1;
}

static ssize_t read_at_once(struct stderr_log *lines)
{
    ssize_t n = read_up_to(lines, READ_AT_ONCE);
    note_unfinished(lines);
    return n;
}

static void pipe_ready(void *owner)
{
    if (read_at_once(owner) < 0)
        close_pipe(owner);
}

int stderr_log_adopt(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                     struct stderr_log_rate *rate, int fd)
{
    *lines = (struct stderr_log){.watch = {.fd = fd, .ready = pipe_ready, .owner = lines},
                                 .set = set,
                                 .pool = pool,
                                 .rate = rate};
    int error = fd < 0 ? 0 : loop_add(set->loop, &lines->watch);
    if (error) {
        close(fd);
        lines->watch.fd = -1;
    }
    return error;
}

/* --- pipes in flight -------------------------------------------------------------------------- */

/* fork() copies each descriptor of the master, and the child closes it again, at some 0.4 us: so a
 * start of many workers would cost the square of their number. So while the master forks more than
 * one round can, it sends the reading ends of the new pipes to a socket of its own (unix(7),
 * SCM_RIGHTS). There they stay open, and fork() does not copy them.
 *
 * A pipe in flight is not read, so its worker waits once it has written 64 KiB. The master takes it
 * back at the first round after which nothing is left to fork, after STDERR_LOG_FLIGHT, when any of
 * these workers has ended, and before an upgrade. No other process can send to the socket or
 * receive from it: each child closes both ends before it runs foreign code. If the master dies,
 * the kernel closes what is in flight with the socket. */

/* If the ends can't be sent, they stay where they are, and forks cost more. */
static void send_fresh(struct stderr_log_set *set, usec now)
{
    int fds[FD_MESSAGE_MAX];
    if (set->flight[0] < 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, set->flight) != 0)
        return;
    for (int i = 0; i < set->fresh_count; i++)
        fds[i] = set->fresh[i]->watch.fd;
    unsigned char count = (unsigned char)set->fresh_count;
    if (fd_send(set->flight[0], &count, 1, fds, count) != 0)
        return;
    if (!set->in_flight)
        set->flight_end = now + STDERR_LOG_FLIGHT;
    for (int i = 0; i < set->fresh_count; i++) {
        struct stderr_log *lines = set->fresh[i];
        close_pipe(lines);
        lines->in_flight = true;
        lines->next_in_flight = NULL;
        *(set->in_flight ? &set->last_in_flight->next_in_flight : &set->in_flight) = lines;
        set->last_in_flight = lines;
    }
}

/* False: there is no descriptor for it. */
static bool take_one_back(struct stderr_log *lines, int fd)
{
    lines->in_flight = false;
    lines->watch.fd = fd;
    if (fd >= 0 && loop_add(lines->set->loop, &lines->watch) == 0)
        return true;
    fd_cleanup(&lines->watch.fd);
    return false;
}

void stderr_log_take_back(struct stderr_log_set *set)
{
    int fds[FD_MESSAGE_MAX], at = 0, lost = 0;
    unsigned char count = 0; /* how many the message has */
    for (struct stderr_log *lines; (lines = set->in_flight); at++) {
        if (at == count) {
            at = 0;
            if (fd_receive(set->flight[1], &count, 1, fds, FD_MESSAGE_MAX) != 1)
                count = 0;
        }
        set->in_flight = lines->next_in_flight;
        lost += !take_one_back(lines, at < count ? fds[at] : -1);
    }
    fd_cleanup(&set->flight[0]);
    fd_cleanup(&set->flight[1]);
    /* The configuration's check leaves room for a descriptor for each worker. */
    if (lost)
        log_warning("the standard error of %d workers is lost: %s lost=%d", lost, strerror(EMFILE),
                    lost);
}

void stderr_log_end_round(struct stderr_log_set *set, bool forks_more, usec now)
{
    if (!forks_more || (set->in_flight && now >= set->flight_end))
        stderr_log_take_back(set);
    else if (set->fresh_count)
        send_fresh(set, now);
    set->fresh_count = 0;
}

/* The pipe is read from now on, because its worker has ended. */
static void leave_flight(struct stderr_log *lines)
{
    struct stderr_log_set *set = lines->set;
    if (lines->in_flight)
        stderr_log_take_back(set);
    for (int i = 0; set && i < set->fresh_count; i++)
        if (set->fresh[i] == lines)
            set->fresh[i] = set->fresh[--set->fresh_count];
}

/* --- pipes whose worker has ended ------------------------------------------------------------- */

static void free_detached(struct stderr_log_set *set, struct detached *detached)
{
    struct detached **at = &set->detached;
    while (*at != detached)
        at = &(*at)->next;
    *at = detached->next;
    finish(&detached->lines);
    close_pipe(&detached->lines);
    free(detached->lines.line);
    free(detached);
}

static void detached_ready(void *owner)
{
    struct detached *detached = owner;
    if (read_at_once(&detached->lines) < 0)
        free_detached(detached->lines.set, detached);
}

void stderr_log_set_free(struct stderr_log_set *set)
{
    if (!set)
        return;
    while (set->detached)
        free_detached(set, set->detached);
    fd_cleanup(&set->flight[0]);
    fd_cleanup(&set->flight[1]);
    munmap(set, sizeof *set);
}

static void warn_closed(const struct detached *detached, const char *why)
{
    unsigned missed;
    struct stderr_log_rate *rate = detached->lines.rate;
    if (log_rate_ok(&rate->full, 60 * USEC_SECOND, &missed))
        log_warning(
            "pool %s: what the ended worker %d left running has no standard error any more: "
            "%s pool=%s pid=%d missed=%u",
            detached->pool, (int)detached->lines.pid, why, detached->pool, (int)detached->lines.pid,
            missed);
}

/* Makes room for one more detached pipe: closes the pool's oldest, if it has too many. */
static void bound_detached(struct stderr_log_set *set, const struct stderr_log_rate *rate)
{
    int most = rate->most_workers > STDERR_LOG_DETACHED ? rate->most_workers : STDERR_LOG_DETACHED;
    int count = 0;
    struct detached *oldest = NULL;
    for (struct detached *d = set->detached; d; d = d->next) {
        if (d->lines.rate != rate)
            continue;
        oldest = oldest ? oldest : d;
        count++;
    }
    if (count < most)
        return;
    warn_closed(oldest, "too many are there");
    free_detached(set, oldest);
}

/* Moves the descriptor and an unfinished line's memory into a detached pipe. 0 or -errno. */
static int detach(struct stderr_log *lines)
{
    struct stderr_log_set *set = lines->set;
    bound_detached(set, lines->rate);
    struct detached *detached = calloc(1, sizeof *detached), **end = &set->detached;
    if (!detached)
        return -ENOMEM;
    snprintf(detached->pool, sizeof detached->pool, "%s", lines->pool);
    detached->lines = *lines;
    detached->lines.pool = detached->pool;
    /* The next worker in the slot goes on with these counts. */
    detached->lines.accepted = detached->lines.took = NULL;
    detached->lines.watch.ready = detached_ready;
    detached->lines.watch.owner = detached;
    loop_remove(set->loop, &lines->watch);
    int error = loop_add(set->loop, &detached->lines.watch);
    if (error) {
        free(detached);
        return error;
    }
    while (*end)
        end = &(*end)->next;
    *end = detached;
    lines->watch.fd = -1;
    lines->line = NULL;
    return 0;
}

void stderr_log_close(struct stderr_log *lines)
{
    leave_flight(lines);
    bool held = lines->watch.fd >= 0 && read_up_to(lines, READ_AT_DEATH) >= 0;
    if (lines->line)
        finish(lines);
    if (!held || detach(lines) != 0)
        close_pipe(lines);
    free(lines->line);
    lines->line = NULL;
    lines->length = 0;
}

const struct stderr_log *stderr_log_next_detached(const struct stderr_log_set *set,
                                                  const struct stderr_log *lines)
{
    const struct detached *next = lines ? ((const struct detached *)lines)->next : set->detached;
    return next ? &next->lines : NULL;
}

void stderr_log_adopt_detached(struct stderr_log_set *set, int fd, pid_t pid, const char *pool,
                               struct stderr_log_rate *rate)
{
    struct stderr_log lines;
    if (stderr_log_adopt(&lines, set, pool, rate ? rate : &set->rate, fd) != 0)
        return;
    lines.pid = pid;
    if (detach(&lines) != 0)
        close_pipe(&lines);
}

void stderr_log_leave(struct stderr_log_set *set, const struct stderr_log_rate *rate)
{
    for (struct detached *d = set->detached; d; d = d->next)
        if (d->lines.rate == rate)
            d->lines.rate = &set->rate;
}

int stderr_log_open(struct stderr_log *lines, struct stderr_log_set *set, const char *pool,
                    struct stderr_log_rate *rate)
{
    int ends[2];
    while (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        int error = errno;
        if (!set->detached || error != EMFILE)
            return -error;
        /* Workers that serve need the descriptors more. */
        warn_closed(set->detached, strerror(error));
        free_detached(set, set->detached);
    }
    int error = stderr_log_adopt(lines, set, pool, rate, ends[0]);
    if (error) {
        close(ends[1]);
        return error;
    }
    /* Programs expect a blocking standard error. The flag belongs to one end of the pipe. */
    fcntl(ends[1], F_SETFL, 0);
    if (set->fresh_count < FD_MESSAGE_MAX)
        set->fresh[set->fresh_count++] = lines;
    return ends[1];
}
