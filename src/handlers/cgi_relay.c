#include "cgi_relay.h"

#include "../base/fd.h"
#include "../base/procfs.h"
#include "cgi_answer.h"
#include "cgi_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* From TERM to KILL. */
#define GRACE_ABORTED ((usec)3 * USEC_SECOND)
#define GRACE         ((usec)5 * USEC_SECOND)

/* How much longer than request_timeout the answer may wait for the web server: the program is gone
 * by then, and the master does not end the worker yet. */
#define OVERTIME (GRACE + 2 * USEC_SECOND)

/* A program that closes its output usually ends at once. Wait TAIL_DELAY for that, so that the end
 * of the stream and that of the request go out together; then TAIL_MOST for its exit status, and
 * for as long as it exits: a signal that kills it closes its output, too, and leaves the answer
 * cut. The end of the exit wakes us. */
#define TAIL_DELAY ((usec)10 * 1000)
#define TAIL_MOST  ((usec)250 * 1000)

enum { SOCKET, INPUT, OUTPUT, ERRORS, PROCESS, WATCHED };

struct run {
    struct cgi_relay *relay;
    struct cgi_session *session;
    struct cgi_process process;
    long long body_left;
    struct cgi_body body; /* what to write to the program next */
    struct cgi_answer answer;
    bool stream_due, request_due;   /* the output has ended: its end, or that of the request, may be
                                       sent before the program ends */
    bool stream_ended;              /* the end of its output is sent */
    bool answered;                  /* the end of the request is sent */
    bool errors_sent, errors_ended; /* some of its standard error is sent; and its end */
    bool served;                    /* all that the web server was promised is written */
    bool lost;                      /* nobody reads the answer */
    bool our_side_shut;             /* see shut_our_side */
    bool peer_side_shut;            /* the web server has shut down its side */
    bool stopping;                  /* the program was told to end */
    bool exited;
    usec kill_at, tail_at, idle_at; /* USEC_NEVER: not set */
};

/* --- the answer ------------------------------------------------------------------------------- */

/* Ends the streams and the request. */
static void finish(struct run *run, uint32_t app_status)
{
    if (run->errors_sent && !run->errors_ended)
        cgi_session_put(run->session, FCGI_STDERR, 0);
    if (!run->stream_ended)
        cgi_session_put(run->session, FCGI_STDOUT, 0);
    cgi_session_put_end(run->session, app_status);
    run->errors_ended = run->stream_ended = run->answered = true;
}

static void fail(struct run *run, int status)
{
    cgi_answer_put_status(run->session, status);
    finish(run, (uint32_t)status);
}

/* The output has ended without a header. */
static void fail_without_header(struct run *run, int status)
{
    run->relay->outcome = CGI_NO_ANSWER;
    run->relay->fault = run->answer.size ? "has no complete header in its answer" : "wrote nothing";
    fail(run, status);
}

/* The answer must not look complete. To nginx, it is complete when the connection ends, whether the
 * request was ended or not, unless a record is broken. */
static void cut_off(struct run *run)
{
    run->relay->keep = false;
    cgi_session_put_broken(run->session);
    run->errors_ended = run->stream_ended = run->answered = true;
}

/* When the connection has no more to say, shut down our side at once: nginx waits for that before
 * it uses the answer, and the program may take its time to end, as may a body that nobody reads. */
static void shut_our_side(struct run *run)
{
    if (!run->answered || run->relay->keep || run->our_side_shut || run->lost ||
        cgi_session_pending(run->session))
        return;
    run->our_side_shut = true;
    shutdown(run->session->conn->fd, SHUT_WR);
}

/* --- stopping the program --------------------------------------------------------------------- */

/* Closes the program's pipes, so that it blocks on none of them. Its group's number belongs to no
 * other group before it is reaped. */
static void stop(struct run *run, enum cgi_outcome outcome, usec grace)
{
    if (run->stopping || run->exited)
        return;
    run->stopping = true;
    run->relay->outcome = outcome;
    run->body.size = 0;
    cgi_process_close_pipes(&run->process);
    kill(-run->process.pid, SIGTERM);
    run->kill_at = clock_now() + grace;
}

static bool has_promised_length(const struct run *run)
{
    return run->answer.promised >= 0 && run->answer.sent >= run->answer.promised;
}

static void lose_connection(struct run *run)
{
    run->lost = true;
    run->relay->keep = false;
    cgi_session_drop(run->session);
    run->body.size = 0;
    fd_cleanup(&run->process.input);
    /* If the web server has all that it was promised, its going away does not concern the program,
     * which may have work left to do. */
    if (run->served)
        return;
    if (run->exited && run->relay->outcome == CGI_DONE)
        run->relay->outcome = CGI_ABORTED;
    stop(run, CGI_ABORTED, GRACE_ABORTED);
}

/* If the program has ended a whole answer, which is still held back for a body that it does not
 * read, the answer is sent now: stop() closes its input. A program that exits may have been killed,
 * and its output cut off. */
static void time_out(struct run *run)
{
    bool held_back = run->process.output < 0 && cgi_answer_pending(&run->answer) &&
                     !procfs_exits(run->process.pid);
    run->relay->deadline = USEC_NEVER;
    if (run->stopping)
        return;
    stop(run, CGI_TIMED_OUT, GRACE);
    run->relay->keep = false;
    if (run->answer.begun && !run->stream_ended)
        cut_off(run);
    else if (!run->answer.begun && !run->answered && !held_back)
        fail(run, 504);
}

static void write_output(struct run *run)
{
    size_t before = run->session->out_at;
    if (run->lost) /* the output of a program that may finish all the same */
        cgi_session_drop(run->session);
    if (!cgi_session_pending(run->session))
        return;
    int error = cgi_session_write(run->session);
    if (error == 0 || run->session->out_at > before)
        run->idle_at = USEC_NEVER;
    if (error == 0)
        run->served = run->stream_ended || has_promised_length(run);
    else if (error != -EAGAIN)
        lose_connection(run);
}

/* --- the program's output --------------------------------------------------------------------- */

static void forward_output(struct run *run)
{
    size_t room;
    void *to = cgi_answer_room(&run->answer, &room);
    size_t n = cgi_process_read_output(&run->process, to, room);
    const char *fault = cgi_answer_add(&run->answer, n);
    if (fault) {
        run->relay->fault = fault;
        run->relay->keep = false;
        fail(run, 500);
        stop(run, CGI_BAD_ANSWER, GRACE);
        run->relay->outcome = CGI_BAD_ANSWER;
        fd_cleanup(&run->process.output);
    } else if (run->process.output < 0 && !run->exited) {
        run->tail_at = clock_now() + TAIL_DELAY;
    }
}

/* Sends the collected output, from the header on. For a web server that sends the body first, it is
 * held back: nginx sends no more of a body once an answer has begun, and Caddy reads no answer
 * before, so a program that writes before it reads would wait for the rest of the body in vain. */
static void forward_collected(struct run *run)
{
    while (cgi_answer_pending(&run->answer) && !run->answered &&
           !cgi_session_pending(run->session)) {
        if (!run->answer.begun && run->relay->body_first && run->process.input >= 0 &&
            !run->session->request.stdin_ended && !run->exited && !cgi_answer_full(&run->answer))
            return;
        cgi_answer_put(&run->answer);
        write_output(run);
    }
}

/* The program runs on without its output: end the stream behind all collected output. If the
 * program can't want any more of the body, end the request, too, without its exit status, and the
 * connection: nginx waits for that, and could send another request before we are ready. Without a
 * header no answer can come any more, so say that then, too. */
static void end_stream(struct run *run)
{
    bool wants_body =
        run->process.input >= 0 && (run->body.size || !run->session->request.stdin_ended);
    if (!run->stream_due || run->answered || run->lost || cgi_answer_pending(&run->answer))
        return;
    if (run->request_due && !wants_body) {
        run->relay->keep = false;
        if (run->answer.begun)
            finish(run, 0);
        else
            fail_without_header(run, 500);
    } else if (run->answer.begun && !run->stream_ended) {
        cgi_session_put(run->session, FCGI_STDOUT, 0);
        run->stream_ended = true;
    }
}

/* What the web server can't get any more goes to the log: we had to end this stream, or it is gone
 * while the program finishes. */
static void forward_errors(struct run *run)
{
    unsigned char *to = cgi_session_room(run->session);
    size_t n = cgi_process_read_errors(&run->process, to, CGI_ERRORS);
    if (n && (run->errors_ended || run->lost))
        fd_write(STDERR_FILENO, to, n);
    else if (n)
        cgi_session_put(run->session, FCGI_STDERR, n);
    run->errors_sent = run->errors_sent || n;
}

/* --- the request's body ----------------------------------------------------------------------- */

/* Passes on no more than CONTENT_LENGTH says. */
static void take_body(struct run *run, struct cgi_body body)
{
    if (run->process.input < 0)
        return;
    if (run->body_left >= 0 && (long long)body.size > run->body_left)
        body.size = (size_t)run->body_left;
    if (run->body_left > 0)
        run->body_left -= (long long)body.size;
    run->body = body;
}

/* The program need not read it all. */
static void write_body(struct run *run)
{
    size_t n = cgi_process_write_input(&run->process, run->body.data, run->body.size);
    run->body.data += n;
    run->body.size = run->process.input >= 0 ? run->body.size - n : 0;
    if (run->body.size == 0 && (run->body_left == 0 || run->session->request.stdin_ended))
        fd_cleanup(&run->process.input);
}

/* Takes input until there is none left, or until the program must read first. */
static void take_input(struct run *run)
{
    struct cgi_body body;
    write_body(run);
    while (run->body.size == 0 && !run->lost) {
        switch (cgi_session_take(run->session, &body)) {
        case CGI_EVENT_BODY: take_body(run, body); break;
        case CGI_EVENT_ABORT:
            run->relay->deadline = USEC_NEVER;
            stop(run, CGI_ABORTED, GRACE_ABORTED);
            break;
        case CGI_EVENT_BROKEN: lose_connection(run); return;
        case CGI_EVENT_NONE: return;
        case CGI_EVENT_FULL:
            write_output(run);
            if (cgi_session_pending(run->session))
                return;
            break;
        default: break;
        }
        write_body(run);
    }
}

/* --- the connection --------------------------------------------------------------------------- */

static bool wants_input(const struct run *run)
{
    return !run->lost && !run->session->in_ended && run->body.size == 0 &&
           cgi_session_input_empty(run->session);
}

static void serve_socket(struct run *run, short events)
{
    if (events & (POLLHUP | POLLERR | POLLNVAL)) {
        lose_connection(run);
        return;
    }
    /* A web server that has shut down its side may still want the answer, or be gone. A Unix socket
     * tells which; TCP only tells after something was sent. So send the end of the stderr stream: a
     * host that is gone answers with a reset. */
    if (events & POLLRDHUP && !run->peer_side_shut) {
        run->peer_side_shut = true;
        if (run->session->conn->peer.sa.sa_family != AF_UNIX && !run->errors_ended &&
            !run->answered) {
            cgi_session_put(run->session, FCGI_STDERR, 0);
            run->errors_ended = true;
        }
    }
    int error = events & POLLIN && wants_input(run) ? cgi_session_read(run->session) : -EAGAIN;
    if (error == -EAGAIN)
        return;
    run->idle_at = USEC_NEVER;
    if (error || (run->session->in_ended && !run->session->request.stdin_ended))
        lose_connection(run);
}

/* --- timers ----------------------------------------------------------------------------------- */

/* idle_timeout runs while we wait for the web server, and ends OVERTIME behind the deadline. */
static void set_idle(struct run *run, usec now)
{
    bool awaits_peer =
        !run->lost &&
        (cgi_session_pending(run->session) ||
         (!run->session->request.stdin_ended && run->process.input >= 0 && wants_input(run)));
    usec deadline = cgi_session_deadline(run->session);
    usec end = deadline == USEC_NEVER ? USEC_NEVER : deadline + OVERTIME;
    if (!awaits_peer)
        run->idle_at = USEC_NEVER;
    else if (run->idle_at == USEC_NEVER)
        run->idle_at = clock_earlier(end, now + run->session->service->idle_timeout * USEC_SECOND);
}

static int poll_timeout(const struct run *run, usec now)
{
    usec next = clock_earlier(run->exited ? USEC_NEVER : run->relay->deadline, run->kill_at);
    next = clock_earlier(next, clock_earlier(run->tail_at, run->idle_at));
    if (next == USEC_NEVER)
        return -1;
    return clock_msec(next - now);
}

/* A program may have joined another group of its session. */
static void check_timers(struct run *run)
{
    usec now = clock_now();
    if (!run->exited && now >= run->kill_at) {
        kill(-run->process.pid, SIGKILL);
        kill(run->process.pid, SIGKILL);
        run->kill_at = USEC_NEVER;
    }
    if (!run->exited && now >= run->relay->deadline)
        time_out(run);
    if (now >= run->idle_at)
        lose_connection(run);
    if (now >= run->tail_at) {
        run->request_due = run->stream_due && !procfs_exits(run->process.pid);
        run->tail_at = run->request_due ? USEC_NEVER : now + TAIL_MOST;
        run->stream_due = true;
    }
}

/* --- the program's end ------------------------------------------------------------------------ */

/* Once the program is reaped, another group may get its number. */
static void reap(struct run *run)
{
    struct cgi_relay *relay = run->relay;
    run->exited = true;
    run->tail_at = run->kill_at = USEC_NEVER;
    run->body.size = 0;
    cgi_process_ended(&run->process);
    if (run->stopping) /* what the program left behind is not wanted either */
        kill(-run->process.pid, SIGKILL);
    service_end_program(run->session->service);
    relay->status = cgi_process_reap(&run->process, &relay->usage);
}

/* The program has ended, and all of its output is sent or pending. If a signal killed it, only its
 * length shows that the answer is complete: the kill closes the output, too, on a busy machine long
 * before the program's end is seen. That does not hold if we killed the program: then its answer
 * had ended by itself, or was cut off. */
static void conclude(struct run *run)
{
    struct cgi_relay *relay = run->relay;
    bool signaled = WIFSIGNALED(relay->status);
    uint32_t app_status =
        signaled ? 128 + (uint32_t)WTERMSIG(relay->status) : (uint32_t)WEXITSTATUS(relay->status);
    if (run->lost || run->answered)
        return;
    bool killed = signaled && !run->stopping;
    if (relay->outcome == CGI_ABORTED || (run->stream_ended && !killed)) {
        finish(run, app_status);
    } else if (!run->answer.begun) {
        fail_without_header(run, signaled ? 502 : 500);
    } else if (signaled && !has_promised_length(run)) {
        relay->outcome = CGI_CUT;
        cut_off(run);
    } else {
        finish(run, app_status);
    }
}

static bool is_drained(const struct run *run)
{
    return run->exited && run->process.output < 0 && run->process.errors < 0 &&
           (run->answered || !cgi_answer_pending(&run->answer));
}

/* --- the loop --------------------------------------------------------------------------------- */

static void serve_pipes(struct run *run, const struct pollfd *watched)
{
    if (watched[INPUT].revents)
        write_body(run);
    if (run->process.errors >= 0 && watched[ERRORS].revents)
        forward_errors(run);
    if (run->process.output >= 0 && watched[OUTPUT].revents)
        forward_output(run);
    if (run->process.pidfd >= 0 && watched[PROCESS].revents)
        reap(run);
}

/* Output is read only when the previous output is written, the body only when the program took the
 * previous piece, so neither piles up. */
static void await_events(struct run *run, struct pollfd *watched)
{
    bool idle = !cgi_session_pending(run->session);
    bool has_room =
        run->answer.begun ? !cgi_answer_pending(&run->answer) : !cgi_answer_full(&run->answer);
    usec now = clock_now();
    short events = (short)((run->peer_side_shut ? 0 : POLLRDHUP) | (wants_input(run) ? POLLIN : 0) |
                           (idle ? 0 : POLLOUT));
    set_idle(run, now);
    watched[SOCKET] = (struct pollfd){run->lost ? -1 : run->session->conn->fd, events, 0};
    watched[INPUT] = (struct pollfd){run->body.size ? run->process.input : -1, POLLOUT, 0};
    watched[OUTPUT] = (struct pollfd){idle && has_room ? run->process.output : -1, POLLIN, 0};
    watched[ERRORS] = (struct pollfd){idle ? run->process.errors : -1, POLLIN, 0};
    watched[PROCESS] = (struct pollfd){run->process.pidfd, POLLIN, 0};
    if (poll(watched, WATCHED, poll_timeout(run, now)) < 0)
        for (int i = 0; i < WATCHED; i++)
            watched[i].revents = 0;
}

/* Everything that can be done without an event is done before one is awaited. What is left then
 * waits for room, which POLLOUT reports. So forward_collected() runs after write_output(); after
 * it, nothing more is written unless it has put out everything: else the write could use up room
 * that became free in between, and no event would come for it. */
static void loop(struct run *run)
{
    struct pollfd watched[WATCHED];
    for (;;) {
        take_input(run);
        write_output(run);
        forward_collected(run);
        end_stream(run);
        if (is_drained(run))
            conclude(run);
        if (!cgi_answer_pending(&run->answer) || run->answered)
            write_output(run);
        shut_our_side(run);
        if (is_drained(run) && !cgi_session_pending(run->session))
            return;
        await_events(run, watched);
        serve_pipes(run, watched);
        if (!run->lost)
            serve_socket(run, watched[SOCKET].revents);
        check_timers(run);
    }
}

int cgi_relay_run(struct cgi_relay *relay, struct launch *launch, const struct cgi_fork *fork)
{
    struct run run = {
        .relay = relay,
        .session = relay->session,
        .body_left = relay->body_most,
        .answer = {.session = relay->session, .promised = -1},
        .kill_at = USEC_NEVER,
        .tail_at = USEC_NEVER,
        .idle_at = USEC_NEVER,
    };
    relay->outcome = CGI_DONE;
    relay->fault = NULL;
    relay->keep = relay->session->request.keep;
    int error =
        cgi_process_start(&run.process, launch, fork, relay->has_body, relay->errors_to_server);
    if (error)
        return error;
    if (*relay->session->service->failed_starts)
        *relay->session->service->failed_starts = 0;
    take_body(&run, relay->body);
    loop(&run);
    cgi_answer_done(&run.answer);
    relay->lost = run.lost;
    relay->nph = run.answer.nph;
    return 0;
}
