#include "cgi_process.h"

#include "../base/fd.h"
#include "../base/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- start ------------------------------------------------------------------------------------ */

/* The first of each pair is the reading end. */
struct pipes {
    int input[2], output[2], errors[2];
};

static void close_pair(int pair[2])
{
    fd_cleanup(&pair[0]);
    fd_cleanup(&pair[1]);
}

static int run_in_template(struct cgi_process *process, const struct launch *launch,
                           const struct cgi_fork *fork)
{
    const struct template_request request = {launch, launch->directory, fork->script,
                                             fork->arguments};
    struct template_child child;
    int error = template_run(fork->template, fork->service, &request, &child);
    if (error)
        return error;
    process->template = fork->template;
    process->pid = child.pid;
    process->pidfd = child.pidfd;
    return 0;
}

static int start(struct cgi_process *process, const struct pipes *pipes, struct launch *launch,
                 const struct cgi_fork *fork)
{
    launch->input = pipes->input[0] >= 0 ? pipes->input[0] : STDIN_FILENO;
    launch->output = pipes->output[1];
    launch->error = pipes->errors[1];
    process->template = NULL;
    if (fork && run_in_template(process, launch, fork) == 0)
        return 0;
    process->pid = launch_program(launch);
    if (process->pid < 0)
        return process->pid;
    process->pidfd = kernel_pidfd_open(process->pid);
    if (process->pidfd >= 0)
        return 0;
    int error = -errno;
    kill(-process->pid, SIGKILL);
    launch_forget(launch);
    waitpid(process->pid, NULL, 0);
    return error;
}

/* The standard error of processes that outlive their program. Closing our end would kill them by
 * SIGPIPE, so it is kept; before the next program starts, its contents are copied to our own
 * standard error. A process that writes more than a pipe holds waits until then; we never wait. If
 * there are too many, the oldest is closed. */
enum { OUTLIVED_MOST = 8, OUTLIVED_READS = 16 };
static int outlived[OUTLIVED_MOST];
static int outlived_count;

static void drop_outlived(int at)
{
    close(outlived[at]);
    outlived_count--;
    for (int i = at; i < outlived_count; i++)
        outlived[i] = outlived[i + 1];
}

/* Keeps a pipe, unless no process has its other end. */
static void keep_errors(int *fd)
{
    struct pollfd pipe = {.fd = *fd, .events = POLLIN};
    if (poll(&pipe, 1, 0) < 0 || pipe.revents & POLLHUP || fcntl(*fd, F_SETFL, O_NONBLOCK) != 0) {
        fd_cleanup(fd);
        return;
    }
    if (outlived_count == OUTLIVED_MOST)
        drop_outlived(0);
    outlived[outlived_count++] = *fd;
    *fd = -1;
}

static void drain_outlived(void)
{
    char buffer[4096];
    for (int i = outlived_count - 1; i >= 0; i--) {
        ssize_t n = 1;
        for (int reads = 0; n > 0 && reads < OUTLIVED_READS; reads++) {
            n = read(outlived[i], buffer, sizeof buffer);
            if (n > 0)
                fd_write(STDERR_FILENO, buffer, (size_t)n);
        }
        if (n == 0)
            drop_outlived(i);
    }
}

int cgi_process_start(struct cgi_process *process, struct launch *launch,
                      const struct cgi_fork *fork, bool has_input, bool has_errors)
{
    struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}};
    drain_outlived();
    template_reap_orphans();
    bool opened = pipe2(pipes.output, O_CLOEXEC) == 0 &&
                  (!has_input || (pipe2(pipes.input, O_CLOEXEC) == 0 &&
                                  fcntl(pipes.input[1], F_SETFL, O_NONBLOCK) == 0)) &&
                  (!has_errors || pipe2(pipes.errors, O_CLOEXEC) == 0);
    int error = opened ? start(process, &pipes, launch, fork) : -errno;
    if (error) {
        close_pair(pipes.input);
        close_pair(pipes.output);
        close_pair(pipes.errors);
        return error;
    }
    fd_cleanup(&pipes.input[0]);
    fd_cleanup(&pipes.output[1]);
    fd_cleanup(&pipes.errors[1]);
    process->input = pipes.input[1];
    process->output = pipes.output[0];
    process->errors = pipes.errors[0];
    process->output_left = process->errors_left = -1;
    return 0;
}

/* --- pipes ------------------------------------------------------------------------------------ */

/* Closes the pipes that are empty after the program's end. */
static void close_read(struct cgi_process *process)
{
    if (process->output_left == 0)
        fd_cleanup(&process->output);
    if (process->errors_left == 0 && process->errors >= 0)
        keep_errors(&process->errors);
}

/* After the program's end, only what the pipe held then is read. */
static size_t read_pipe(struct cgi_process *process, int *fd, void *to, size_t room,
                        long long *left)
{
    if (*left >= 0 && (size_t)*left < room)
        room = (size_t)*left;
    ssize_t n = read(*fd, to, room);
    if (n < 0 && errno == EINTR)
        return 0;
    if (n > 0 && *left >= 0)
        *left -= n;
    if (n <= 0)
        fd_cleanup(fd);
    close_read(process);
    return n > 0 ? (size_t)n : 0;
}

size_t cgi_process_read_output(struct cgi_process *process, void *to, size_t room)
{
    return read_pipe(process, &process->output, to, room, &process->output_left);
}

size_t cgi_process_read_errors(struct cgi_process *process, void *to, size_t room)
{
    return read_pipe(process, &process->errors, to, room, &process->errors_left);
}

size_t cgi_process_write_input(struct cgi_process *process, const void *data, size_t size)
{
    size_t done = 0;
    while (done < size && process->input >= 0) {
        ssize_t n = write(process->input, (const char *)data + done, size - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            fd_cleanup(&process->input);
    }
    return done;
}

void cgi_process_close_pipes(struct cgi_process *process)
{
    fd_cleanup(&process->input);
    fd_cleanup(&process->output);
    fd_cleanup(&process->errors);
}

/* --- end -------------------------------------------------------------------------------------- */

static long long bytes_left(int fd)
{
    int size = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &size) == 0 ? size : 0;
}

void cgi_process_ended(struct cgi_process *process)
{
    process->output_left = bytes_left(process->output);
    process->errors_left = bytes_left(process->errors);
    close_read(process);
    fd_cleanup(&process->input);
}

int cgi_process_reap(struct cgi_process *process, struct rusage *usage)
{
    int status = 0;
    if (process->template) {
        struct template_child child = {.pid = process->pid, .pidfd = process->pidfd};
        process->pidfd = -1;
        return template_reap(process->template, &child, &status, usage) ? status : SIGKILL;
    }
    fd_cleanup(&process->pidfd);
    while (wait4(process->pid, &status, 0, usage) < 0 && errno == EINTR)
        continue;
    return status;
}
