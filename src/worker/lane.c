#include "lane.h"

#include "../base/clock.h"
#include "../base/log.h"
#include "../base/proc.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TITLE_WORD = 4 };

/* Who it is, for whoever looks at the slot while it is busy, or after a death. */
static void show_peer(struct slot_peer *peer, const struct addr *addr)
{
    peer->uid = (uint32_t)-1;
    peer->port = 0;
    if (addr->sa.sa_family == AF_INET) {
        peer->port = ntohs(addr->in.sin_port);
        memcpy(peer->ip, &addr->in.sin_addr, sizeof addr->in.sin_addr);
    } else if (addr->sa.sa_family == AF_INET6) {
        peer->port = ntohs(addr->in6.sin6_port);
        memcpy(peer->ip, &addr->in6.sin6_addr, sizeof addr->in6.sin6_addr);
    }
    peer->family = addr->sa.sa_family;
}

/* The time before the state: whoever finds it busy must not take the time of something older. */
static void show_state(struct lane *lane, enum slot_state state, const char *word, usec now)
{
    atomic_store_explicit(&lane->slot->since, now, memory_order_relaxed);
    atomic_store_explicit(&lane->slot->state, state, memory_order_release);
    if (lane->title_word)
        memcpy(lane->title_word, word, TITLE_WORD);
}

/* Whether a connection stood in the queue is not to be seen without a system call, which only one
 * in WAIT_SAMPLE pays, but for those that likely did, since then all workers are busy: where the
 * one asked about before did; and where one that took long is followed at once by the next. No word
 * of the pool's is needed for that, which somebody would have to count free seats for. */
enum { WAIT_SAMPLE = 32 };
#define TAKES_LONG (USEC_SECOND / 10)
#define AT_ONCE    (USEC_SECOND / 1000)

static bool likely_waited(const struct lane *lane, usec idle)
{
    return lane->waited || (lane->took >= TAKES_LONG && idle < AT_ONCE);
}

/* One that is asked about in its turn stands for those before it that were not, so that the counts
 * are those of all connections. With queue_timeout each is asked, and those that are refused for it
 * don't count: they have a count of their own. */
static void count_wait(struct lane *lane, struct conn *conn, usec idle)
{
    usec most = lane->pool->queue_timeout * USEC_SECOND;
    uint64_t unknown = lane->slot->accepted - lane->wait_known;
    bool in_turn = most || unknown >= WAIT_SAMPLE;
    uint64_t stands_for = in_turn ? unknown : likely_waited(lane, idle) ? 1 : 0;
    conn->late = false;
    if (!stands_for)
        return;
    usec wait = conn_waited(conn);
    lane->wait_known += stands_for;
    lane->waited = wait > 0;
    conn->late = most && wait > most;
    if (wait >= 0 && !conn->late)
        histogram_count(&lane->slot->wait, wait, stands_for);
}

/* Returns when that was. */
static usec enter(struct lane *lane, struct conn *conn)
{
    usec now = clock_now(), idle = now - lane->slot->since;
    histogram_grow(&lane->slot->accepted, 1);
    show_peer(&lane->slot->peer, &conn->peer);
    show_state(lane, SLOT_BUSY, "busy", now);
    bell_seat_taken(&lane->bell);
    count_wait(lane, conn, idle);
    return now;
}

static void rest(struct lane *lane, usec now)
{
    lane->slot->peer.family = 0;
    show_state(lane, SLOT_IDLE, "idle", now);
}

/* The two times that show when it was busy are those that tell for how long. */
static void leave(struct lane *lane, const struct conn *conn, usec began)
{
    struct slot *slot = lane->slot;
    usec now = clock_now();
    lane->took = now - began;
    if (!lane->handler->counts_requests)
        histogram_count(&slot->service, lane->took, 1);
    if (conn->counted) {
        histogram_grow(&slot->bytes_in, conn->in);
        histogram_grow(&slot->bytes_out, conn->out);
    }
    histogram_grow(&slot->served, 1);
    rest(lane, now);
    if (lane->left > 0)
        lane->left--;
}

/* TCP hands the listener's timeouts on to its connections; a Unix socket does not. */
static void set_unix_timeouts(const struct lane *lane, int fd)
{
    struct timeval idle = {.tv_sec = lane->pool->idle_timeout};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
}

static const char *outcome(const struct conn *conn, int error, char *text, size_t size)
{
    int at = 0;
    text[0] = '\0';
    if (conn->counted)
        at = snprintf(text, size, " in=%llu out=%llu", (unsigned long long)conn->in,
                      (unsigned long long)conn->out);
    if (conn->has_status && WIFEXITED(conn->status))
        snprintf(text + at, size - (size_t)at, " exit=%d", WEXITSTATUS(conn->status));
    else if (conn->has_status)
        snprintf(text + at, size - (size_t)at, " signal=%s",
                 proc_signal_word(WTERMSIG(conn->status)));
    else if (error)
        snprintf(text + at, size - (size_t)at, " error=\"%s\"", strerror(-error));
    return text;
}

static void tell(const struct lane *lane, const struct conn *conn, int error, usec began)
{
    char peer[ADDR_TEXT], what[128];
    double seconds = clock_seconds(clock_now() - began);
    addr_print(&conn->peer, peer);
    log_event(lane->log_level,
              "pool %s: connection from %s ended after %.3f s pool=%s peer=%s duration=%.3f%s",
              lane->pool->name, peer, seconds, lane->pool->name, peer, seconds,
              outcome(conn, error, what, sizeof what));
}

/* A program that ended otherwise than well is told of, whether or not connections are. False where
 * there were too many. */
static bool tell_failure(const struct lane *lane, const struct conn *conn, usec began)
{
    static struct log_rate failures;
    unsigned missed;
    char peer[ADDR_TEXT], what[128];
    bool exited = WIFEXITED(conn->status);
    double seconds = clock_seconds(clock_now() - began);
    if (!log_rate_ok(&failures, USEC_SECOND, &missed))
        return false;
    addr_print(&conn->peer, peer);
    log_notice("pool %s: the program for %s %s %d after %.3f s pool=%s peer=%s duration=%.3f%s "
               "missed=%u",
               lane->pool->name, peer, exited ? "exited with" : "was killed by signal",
               exited ? WEXITSTATUS(conn->status) : WTERMSIG(conn->status), seconds,
               lane->pool->name, peer, seconds, outcome(conn, 0, what, sizeof what), missed);
    return true;
}

/* One line, where one is due: a failure that no line of level info tells is a notice. */
static void report(const struct lane *lane, const struct conn *conn, int error, usec began)
{
    bool failed = conn->has_status && conn->status != 0;
    if (failed && lane->log_level != LOG_INFO && tell_failure(lane, conn, began))
        return;
    if (lane->log_level >= 0)
        tell(lane, conn, error, began);
}

/* A worker that is told to finish does not wait, whether the word comes before or meanwhile. It is
 * idle for everybody else: nobody is served by one more worker, and no connection is late. */
static void pause_awhile(struct lane *lane)
{
    int msec = lane->service.pause_msec;
    struct timespec span = {.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L};
    sigset_t all, before;
    lane->service.pause_msec = 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (!lane->stopping)
        ppoll(NULL, 0, &span, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static struct lane *lane_of(struct service *service)
{
    return (struct lane *)((char *)service - offsetof(struct lane, service));
}

void lane_renew(struct service *service)
{
    lane_of(service)->slot->since = clock_now();
}

void lane_count_request(struct service *service, usec began)
{
    histogram_count(&lane_of(service)->slot->service, clock_now() - began, 1);
}

bool lane_crowded(struct service *service)
{
    const struct lane *lane = lane_of(service);
    return !lane_open(lane) || !bell_finds_seat(&lane->bell);
}

unsigned lane_same_peer(const struct service *service)
{
    const char *at = (const char *)service - offsetof(struct lane, service);
    const struct lane *lane = (const struct lane *)at;
    return scoreboard_same_peer(lane->bell.board, lane->bell.seat);
}

/* It is not served: closed at once, but for one that came too late and can be told so. */
static void turn_away(struct lane *lane, struct conn *conn, enum refusal why)
{
    if (why == REFUSED_QUEUE && lane->handler->refuse)
        lane->handler->refuse(&lane->service, conn);
    gate_leave(lane->gate);
    close(conn->fd);
    rest(lane, clock_now());
}

void lane_serve(struct lane *lane, struct conn *conn)
{
    enum refusal refused = REFUSALS;
    bool programs = lane->handler->runs_programs;
    usec began = enter(lane, conn);
    if (conn->peer.sa.sa_family == AF_UNIX && !programs)
        set_unix_timeouts(lane, conn->fd);
    if (lane->gate)
        refused = gate_admit(lane->gate, conn);
    if (refused != REFUSALS) {
        turn_away(lane, conn, refused);
        return;
    }
    if (conn->proxied)
        show_peer(&lane->slot->peer, &conn->peer);
    int error = lane->handler->serve(&lane->service, conn);
    bool told = lane->log_level >= 0 || (conn->has_status && conn->status != 0);
    if (!conn->counted)
        conn_ask_counts(conn);
    if (lane->gate)
        gate_leave(lane->gate); /* before the client can see the end, and come again */
    if (conn->fd >= 0)
        close(conn->fd);
    if (told)
        report(lane, conn, error, began);
    leave(lane, conn, began);
    if (lane->service.pause_msec)
        pause_awhile(lane);
}
