#include "template_process.h"

#include "../base/fd.h"
#include "../base/kernel.h"
#include "../base/launch.h"
#include "../wire/template.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A template replies within a millisecond. One that takes longer than this hangs, and is ended. */
#define REPLY_TIMEOUT (10 * USEC_SECOND)

/* How long a killed process may take to end. */
#define KILLED_TIMEOUT USEC_SECOND

/* --- start and end ---------------------------------------------------------------------------- */

static void close_all(struct template_process *process)
{
    fd_cleanup(&process->socket);
    fd_cleanup(&process->go);
    fd_cleanup(&process->turns);
    fd_cleanup(&process->pidfd);
}

/* The worker closes its copy of the process's end of the first pair, so that this stream ends with
 * the process. */
static int start_process(struct template_process *process, struct launch *launch)
{
    int sockets[2] = {-1, -1}, turns[2] = {-1, -1};
    int error = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, turns) != 0)
        error = -errno;
    launch->input = sockets[1];
    launch->output = process->turns = turns[0];
    process->socket = sockets[0];
    process->go = turns[1];
    if (error == 0) {
        pid_t pid = launch_program(launch);
        process->pid = pid > 0 ? pid : 0;
        error = pid < 0 ? pid : 0;
    }
    fd_cleanup(&sockets[1]);
    return error;
}

int template_process_start(struct template_process *process, char *const *arguments,
                           char *const *environment)
{
    _Atomic(pid_t) group = 0; /* not used: the pid says it */
    struct launch start = {
        .path = arguments[0],
        .arguments = arguments,
        .environment = environment,
        .directory = -1,
        .error = -1,
        .group = &group,
    };
    *process = (struct template_process)TEMPLATE_PROCESS_NONE;
    process->since = clock_now();
    int error = start_process(process, &start);
    if (error == 0) {
        process->pidfd = kernel_pidfd_open(process->pid);
        error = process->pidfd < 0 ? -errno : 0;
    }
    if (error)
        template_process_end(process);
    return error;
}

/* The wait is short: the kernel ends a killed process, but one that waits for a disk may take long.
 * It then stays a zombie until the worker ends. */
int template_process_end(struct template_process *process)
{
    int status = 0;
    if (process->pid > 0) {
        struct pollfd end = {.fd = process->pidfd, .events = POLLIN};
        usec deadline = clock_now() + KILLED_TIMEOUT;
        kill(-process->pid, SIGKILL);
        kill(process->pid, SIGKILL); /* it may have joined another group of its session */
        while (poll(&end, 1, (int)(KILLED_TIMEOUT / 1000)) < 0 && clock_now() < deadline)
            continue;
        while (waitpid(process->pid, &status, WNOHANG) < 0 && errno == EINTR)
            continue;
    }
    close_all(process);
    process->pid = 0;
    return status;
}

/* --- messages --------------------------------------------------------------------------------- */

/* 0, or -EAGAIN: no message before the deadline; or -errno.
 *
 * A message wakes us, or the end of the process, which the pidfd tells even if another process has
 * a copy of the socket; if the process hangs, the deadline. If it sends descriptors, the kernel
 * drops them, because there is no buffer for them. */
static int receive_reply(struct template_process *process, usec deadline,
                         struct template_reply *reply)
{
    char text[TEMPLATE_REPLY_MAX];
    bool ended = false;
    for (;;) {
        ssize_t n = recv(process->socket, text, sizeof text, MSG_DONTWAIT);
        if (n > 0) {
            template_read_reply(reply, text, (size_t)n);
            return reply->word == TEMPLATE_NOTHING ? -EPROTO : 0;
        }
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return n == 0 ? -EPIPE : -errno;
        if (ended) /* and there was no last message */
            return -EPIPE;
        usec left = deadline - clock_now();
        if (left <= 0)
            return -EAGAIN;
        struct pollfd waits[] = {{.fd = process->socket, .events = POLLIN},
                                 {.fd = process->pidfd, .events = POLLIN}};
        int ready = poll(waits, 2, clock_msec(left));
        ended = ready > 0 && waits[1].revents;
    }
}

/* Puts the failure of a wait into words, for the log. */
static int explain(int error, const struct template_reply *reply, char *why, size_t size)
{
    if (error == 0)
        snprintf(why, size, "%s",
                 reply->word == TEMPLATE_FAILED ? reply->text : "it said nonsense");
    else if (error == -EPIPE)
        snprintf(why, size, "it has ended");
    else if (error == -EPROTO)
        snprintf(why, size, "it said nonsense");
    else if (error == -ETIMEDOUT)
        snprintf(why, size, "it does not answer");
    else
        snprintf(why, size, "%s", strerror(-error));
    return error ? error : -EPROTO;
}

int template_process_await_ready(struct template_process *process, usec deadline, char *why,
                                 size_t size)
{
    struct template_reply reply;
    int error = receive_reply(process, deadline, &reply);
    if (error == -EAGAIN)
        return error;
    if (error || reply.word != TEMPLATE_READY)
        return explain(error, &reply, why, size);
    if (reply.numbers[0] == TEMPLATE_VERSION)
        return 0;
    snprintf(why, size, "it speaks version %lld of the protocol, not %d", reply.numbers[0],
             TEMPLATE_VERSION);
    return -EPROTO;
}

/* 0 or -errno. The process reads one request at a time: if the socket has no room, the process
 * hangs. */
static int send_request(const struct template_process *process,
                        const struct template_request *request)
{
    static char text[TEMPLATE_REQUEST_MAX];
    const struct launch *launch = request->launch;
    size_t size =
        template_write_request(text, sizeof text, request->arguments, launch->environment);
    if (size == 0)
        return -E2BIG;
    const int descriptors[TEMPLATE_DESCRIPTORS] = {
        [TEMPLATE_INPUT] = launch->input,
        [TEMPLATE_OUTPUT] = launch->output,
        [TEMPLATE_ERROR] = launch->error < 0 ? STDERR_FILENO : launch->error,
        [TEMPLATE_DIRECTORY] = request->directory,
        [TEMPLATE_SCRIPT] = request->script,
    };
    int error = fd_send(process->socket, text, size, descriptors, TEMPLATE_DESCRIPTORS);
    if (error == -EMSGSIZE || error == -ENOBUFS)
        return -E2BIG;
    return error == -EAGAIN ? -ETIMEDOUT : error;
}

/* --- forks ------------------------------------------------------------------------------------ */

/* The pid is the template's word. It counts if the kernel says that the process leads a group in
 * this worker's session, and is neither the template nor the worker: then the worker has started
 * it, however indirectly. The pidfd is opened first and polled last: if the process has not ended
 * by then, the other questions were about the same process. */
static int verify_child(const struct template_process *process, struct template_child *child)
{
    child->pidfd = kernel_pidfd_open(child->pid);
    if (child->pidfd < 0)
        return -EPROTO;
    struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
    if (child->pid != process->pid && child->pid != getpid() && getpgid(child->pid) == child->pid &&
        getsid(child->pid) == getsid(0) && poll(&end, 1, 0) == 0)
        return 0;
    fd_cleanup(&child->pidfd);
    return -EPROTO;
}

/* A program that was killed before it took its turn has left the byte in the socket; the next
 * program would take it, and begin before its process is verified. No other process of this
 * template reads there now, unless the template lies; MSG_DONTWAIT keeps us from waiting even
 * then. */
static void discard_turns(const struct template_process *process)
{
    char turn;
    while (recv(process->turns, &turn, 1, MSG_DONTWAIT) > 0)
        continue;
}

int template_process_fork(struct template_process *process, const struct template_request *request,
                          struct template_child *child, char *why, size_t size)
{
    struct template_reply reply = {.word = TEMPLATE_NOTHING};
    *child = (struct template_child){.pidfd = -1};
    /* Earlier programs share standard error, and may have set O_NONBLOCK: see launch. */
    if (request->launch->error < 0)
        fcntl(STDERR_FILENO, F_SETFL, 0);
    discard_turns(process);
    int error = send_request(process, request);
    if (error == -E2BIG) {
        snprintf(why, size, "the request is too large for it");
        return error;
    }
    if (error == 0)
        error = receive_reply(process, clock_now() + REPLY_TIMEOUT, &reply);
    if (error == -EAGAIN)
        error = -ETIMEDOUT;
    if (error == 0 && reply.word == TEMPLATE_FAILED) {
        snprintf(why, size, "%s", reply.text);
        return -ENOEXEC;
    }
    if (error || reply.word != TEMPLATE_FORKED)
        return explain(error, &reply, why, size);
    child->pid = (pid_t)reply.numbers[0];
    error = verify_child(process, child);
    if (error)
        snprintf(why, size, "process %d, which it named, is not one that it could have forked",
                 (int)child->pid);
    return error;
}

/* Never blocks: discard_turns has made room. */
int template_process_go(struct template_process *process)
{
    process->forks++;
    return fd_write(process->go, "g", 1);
}

int template_process_reap(struct template_process *process, int *status, struct rusage *usage)
{
    struct template_reply reply;
    if (process->pid == 0)
        return -EPIPE;
    if (send(process->socket, "reap", sizeof "reap", MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return -errno;
    int error = receive_reply(process, clock_now() + REPLY_TIMEOUT, &reply);
    if (error || reply.word != TEMPLATE_ENDED)
        return error ? error : -EPROTO;
    *status = (int)reply.numbers[0];
    usage->ru_utime = (struct timeval){.tv_sec = reply.numbers[1] / USEC_SECOND,
                                       .tv_usec = reply.numbers[1] % USEC_SECOND};
    usage->ru_stime = (struct timeval){.tv_sec = reply.numbers[2] / USEC_SECOND,
                                       .tv_usec = reply.numbers[2] % USEC_SECOND};
    return 0;
}

/* If the template has lied, the pid may be another process's by now. The pidfd says which process
 * it is: if waitid() finds that pid by it, it is a zombie of ours, so the number stays valid until
 * it is reaped. */
int template_child_reap(const struct template_child *child, int *status, struct rusage *usage)
{
    siginfo_t ended = {.si_pid = 0};
    if (waitid(KERNEL_P_PIDFD, (id_t)child->pidfd, &ended, WEXITED | WNOHANG | WNOWAIT) != 0)
        return -errno;
    if (ended.si_pid != child->pid)
        return -ESRCH;
    return wait4(child->pid, status, WNOHANG, usage) == child->pid ? 0 : -ECHILD;
}
