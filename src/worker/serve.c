#include "serve.h"

#include "../base/clock.h"
#include "../base/daemon.h"
#include "../base/log.h"
#include "board_reader.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

void wakeup_eventfd(int fd)
{
    static const uint64_t one = 1;
    ssize_t written = fd < 0 ? 0 : write(fd, &one, sizeof one);
    (void)written;
}

void wakeup_send(const struct wakeup *wakeup)
{
    wakeup_eventfd(wakeup->fd);
}

void wakeup_unserved(const struct wakeup *wakeup)
{
    atomic_store(&wakeup->board->unserved, 1);
    wakeup_send(wakeup);
}

void wakeup_if_short(const struct wakeup *wakeup)
{
    int wanted = (int)wakeup->board->min_spare;
    if (scoreboard_has_idle(wakeup->board, wakeup->head, wakeup->seat, wanted > 1 ? wanted : 1))
        return;
    if (atomic_exchange(&wakeup->board->armed, 0))
        wakeup_send(wakeup);
}

void serve_tell_finishing(struct worker_state *worker)
{
    if (!atomic_exchange(&worker->head->retiring, 1))
        wakeup_send(&worker->seats->wakeup);
}

/* Stops at 0, because -1 means no limit: two threads may take the last connection together. */
static void count_down(struct worker_state *worker)
{
    long long left = atomic_load_explicit(&worker->left, memory_order_relaxed);
    while (left > 0 && !atomic_compare_exchange_weak(&worker->left, &left, left - 1))
        continue;
    if (left == 1 && worker->count > 1)
        serve_tell_finishing(worker);
}

enum { TITLE_WORD = 4 };

/* Shows the peer to reports, while the slot is busy and after a death. */
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

/* Writes the time before the state: a reader that sees SLOT_BUSY must not see an older time. */
static void show_state(struct serve *serve, enum slot_state state, const char *word, usec now)
{
    atomic_store_explicit(&serve->slot->since, now, memory_order_relaxed);
    atomic_store_explicit(&serve->slot->state, state, memory_order_release);
    if (serve->title_word)
        memcpy(serve->title_word, word, TITLE_WORD);
}

/* Only a system call tells how long a connection waited in the queue. One connection in WAIT_SAMPLE
 * pays for that call, and so does each one that probably waited because all workers are busy: the
 * last measured one had waited, or this one was accepted at once after one that took long. So the
 * free seats of the pool need not be counted. */
enum { WAIT_SAMPLE = 32 };
#define TAKES_LONG (USEC_SECOND / 10)
#define AT_ONCE    (USEC_SECOND / 1000)

/* A connection that is measured in its turn stands for the unmeasured ones before it, so that the
 * histogram counts all connections. With queue_timeout each connection is measured; those refused
 * for it are left out, because they have a counter of their own. */
static void count_wait(struct serve *serve, struct conn *conn, usec idle)
{
    usec most = serve->pool->queue_timeout * USEC_SECOND;
    uint64_t unknown = serve->slot->accepted - serve->waits_counted;
    bool in_turn = most || unknown >= WAIT_SAMPLE;
    bool likely = serve->waited || (serve->took >= TAKES_LONG && idle < AT_ONCE);
    uint64_t stands_for = in_turn ? unknown : likely;
    conn->late = false;
    if (!stands_for)
        return;
    usec wait = conn_waited(conn);
    serve->waits_counted += stands_for;
    serve->waited = wait > 0;
    conn->late = most && wait > most;
    if (wait >= 0 && !conn->late)
        histogram_count(&serve->slot->wait, wait, stands_for);
}

/* Shows the seat busy, and counts. Returns the time. */
static usec begin(struct serve *serve, struct conn *conn)
{
    usec now = clock_now(), idle = now - serve->slot->since;
    serve->shut_down = false;
    atomic_store_explicit(&serve->fd, conn->fd, memory_order_relaxed);
    atomic_store_explicit(&serve->began, now, memory_order_relaxed);
    histogram_grow(&serve->slot->accepted, 1);
    show_peer(&serve->slot->peer, &conn->peer);
    show_state(serve, SLOT_BUSY, "busy", now);
    wakeup_seat_taken(&serve->wakeup);
    count_wait(serve, conn, idle);
    return now;
}

static void show_idle(struct serve *serve, usec now)
{
    serve->slot->peer.family = 0;
    show_state(serve, SLOT_IDLE, "idle", now);
}

/* Counts what the connection took, and shows the seat idle, by one reading of the clock. */
static void finish(struct serve *serve, const struct conn *conn, usec began)
{
    struct slot *slot = serve->slot;
    usec now = clock_now();
    serve->took = now - began;
    if (!serve->handler->counts_requests)
        histogram_count(&slot->service, serve->took, 1);
    if (conn->counted) {
        histogram_grow(&slot->bytes_in, conn->in);
        histogram_grow(&slot->bytes_out, conn->out);
    }
    histogram_grow(&slot->served, 1);
    show_idle(serve, now);
}

static const char *print_outcome(const struct conn *conn, int error, char *text, size_t size)
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
                 daemon_signal_word(WTERMSIG(conn->status)));
    else if (error)
        snprintf(text + at, size - (size_t)at, " error=\"%s\"", strerror(-error));
    return text;
}

static void log_connection(const struct serve *serve, const struct conn *conn, int error,
                           usec began)
{
    char peer[ADDR_TEXT], what[128];
    double seconds = clock_seconds(clock_now() - began);
    addr_print_peer(&conn->peer, peer);
    log_event(serve->log_level,
              "pool %s: connection from %s ended after %.3f s pool=%s peer=%s duration=%.3f%s",
              serve->pool->name, peer, seconds, serve->pool->name, peer, seconds,
              print_outcome(conn, error, what, sizeof what));
}

/* Logs a program that failed, even if connections are not logged. False if there were too many. */
static bool log_failure(const struct serve *serve, const struct conn *conn, usec began)
{
    static struct log_rate failures;
    unsigned missed;
    char peer[ADDR_TEXT], what[128];
    bool exited = WIFEXITED(conn->status);
    double seconds = clock_seconds(clock_now() - began);
    if (!log_rate_ok(&failures, USEC_SECOND, &missed))
        return false;
    addr_print_peer(&conn->peer, peer);
    log_notice("pool %s: the program for %s %s %d after %.3f s pool=%s peer=%s duration=%.3f%s "
               "missed=%u",
               serve->pool->name, peer, exited ? "exited with" : "was killed by signal",
               exited ? WEXITSTATUS(conn->status) : WTERMSIG(conn->status), seconds,
               serve->pool->name, peer, seconds, print_outcome(conn, 0, what, sizeof what), missed);
    return true;
}

/* Accepts nothing for as long as the handler asked. TERM ends the pause, whether it arrives before
 * or during it. The seat shows idle meanwhile: another worker would not help, and no connection is
 * late. */
static void pause_accepting(struct serve *serve)
{
    int msec = serve->service.pause_msec;
    struct timespec span = {.tv_sec = msec / 1000, .tv_nsec = msec % 1000 * 1000000L};
    sigset_t all, before;
    serve->service.pause_msec = 0;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    if (!serve->worker->stopping)
        ppoll(NULL, 0, &span, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static struct serve *serve_of(const struct service *service)
{
    return (struct serve *)((char *)service - offsetof(struct serve, service));
}

void serve_renew(struct service *service)
{
    serve_of(service)->slot->since = clock_now();
}

void serve_count_request(struct service *service, usec began)
{
    histogram_count(&serve_of(service)->slot->service, clock_now() - began, 1);
}

bool serve_crowded(struct service *service)
{
    const struct serve *serve = serve_of(service);
    const struct wakeup *wakeup = &serve->wakeup;
    return !serve_may_accept(serve) ||
           !scoreboard_has_idle(wakeup->board, wakeup->head, wakeup->seat, 1);
}

unsigned serve_same_peer(const struct service *service)
{
    const struct wakeup *wakeup = &serve_of(service)->wakeup;
    return scoreboard_same_peer(wakeup->board, wakeup->seat);
}

int serve_open_lane(struct serve *serve, char *why, size_t size)
{
    const struct handler *handler = serve->handler;
    return handler->lane_start && handler->lane_start(&serve->service, why, size) != 0 ? -1 : 0;
}

void serve_close_lane(struct serve *serve)
{
    if (serve->handler->lane_stop)
        serve->handler->lane_stop(&serve->service);
}

void serve_end_late(struct serve *serve)
{
    usec began = serve->began;
    int fd = serve->fd;
    if (!began || serve->late != began || fd < 0)
        return;
    shutdown(fd, SHUT_RDWR);
    serve->shut_down = true;
}

bool serve_all_free(const struct worker_state *worker)
{
    for (int i = 0; i < worker->count; i++)
        if (worker->seats[i].began)
            return false;
    return true;
}

/* Closes the socket, unless a program has it. serve->fd is cleared first: after the close, the
 * number may be another connection's, which serve_end_late would shut down. */
static void close_socket(struct serve *serve, const struct conn *conn)
{
    atomic_store_explicit(&serve->fd, -1, memory_order_relaxed);
    atomic_store_explicit(&serve->began, 0, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (conn->fd >= 0)
        close(conn->fd);
}

static void log_shut_down(const struct serve *serve, const struct conn *conn, usec began)
{
    static struct log_rate late;
    unsigned missed;
    char peer[ADDR_TEXT];
    double seconds = clock_seconds(clock_now() - began);
    if (!log_rate_ok(&late, USEC_SECOND, &missed))
        return;
    addr_print_peer(&conn->peer, peer);
    log_warning("pool %s: the connection from %s took more than request_timeout: it was shut down, "
                "and its worker goes on pool=%s peer=%s duration=%.3f missed=%u",
                serve->pool->name, peer, serve->pool->name, peer, seconds, missed);
}

static void end_connection(struct serve *serve, struct conn *conn, int error, usec began)
{
    bool failed = conn->has_status && conn->status != 0;
    if (!conn->counted)
        conn_ask_counts(conn);
    if (serve->access)
        access_leave(serve->access); /* before the client sees the end and connects again */
    close_socket(serve, conn);
    if (serve->shut_down)
        log_shut_down(serve, conn, began);
    /* One line only: a failure is a notice, unless the line at level info tells it. */
    if (!(failed && serve->log_level != LOG_INFO && log_failure(serve, conn, began)) &&
        serve->log_level >= 0)
        log_connection(serve, conn, error, began);
    finish(serve, conn, began);
}

/* A TCP connection inherits the listener's timeouts, which are right unless another handler has had
 * the listener or will have it; a Unix connection inherits none. */
static void set_timeouts(const struct serve *serve, const struct conn *conn)
{
    struct timeval idle = {.tv_sec =
                               handler_timeouts(serve->pool->handler, serve->pool->idle_timeout)};
    bool inherits = conn->peer.sa.sa_family != AF_UNIX;
    if (inherits ? !serve_shares_listeners(serve) : idle.tv_sec == 0)
        return;
    setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof idle);
    setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
}

void serve_connection(struct serve *serve, struct conn *conn)
{
    enum refusal refused = ADMITTED;
    usec began = begin(serve, conn);
    if (!conn->waiter)
        set_timeouts(serve, conn);
    if (serve->access)
        refused = access_admit(serve->access, conn);
    if (refused != ADMITTED) {
        if (refused == REFUSED_QUEUE && serve->handler->refuse)
            serve->handler->refuse(&serve->service, conn);
        access_leave(serve->access);
        close_socket(serve, conn);
        show_idle(serve, clock_now());
        return;
    }
    count_down(serve->worker);
    if (conn->proxied)
        show_peer(&serve->slot->peer, &conn->peer);
    if (serve->service.view)
        board_reader_renew();
    end_connection(serve, conn, serve->handler->serve(&serve->service, conn), began);
    if (serve->service.pause_msec)
        pause_accepting(serve);
}

void serve_abandon(struct serve *serve, struct conn *conn)
{
    end_connection(serve, conn, -ECANCELED, serve->began);
}
