/*
 * The floor of the bench: the minimum of a pre-forked echo server. N workers block in accept(), the
 * parent blocks in waitpid() and forks again for each that dies. What a daemon costs beyond this is
 * the cost of its features.
 *
 * usage: floor WORKERS [LISTENER [PROGRAM]]. LISTENER is a descriptor; without it, the kernel picks
 * a port of 127.0.0.1. With a program, each connection becomes its standard input and output, by
 * vfork: the minimum of a server that runs programs. Prints "port N", and "ready N USEC" when all
 * workers are about to accept.
 */
#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long usec_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000L + now.tv_nsec / 1000;
}

static int listener_open(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        return -1;
    dprintf(1, "port %d\n", ntohs(addr.sin_port));
    return fd;
}

static void echo_serve(int fd)
{
    char buf[4096];
    ssize_t n;
    while (fd >= 0 && (n = recv(fd, buf, sizeof buf, 0)) > 0)
        if (send(fd, buf, (size_t)n, MSG_NOSIGNAL) != n)
            break;
}

static void program_serve(int fd, char *program)
{
    char *arguments[] = {program, NULL};
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(fd, STDIN_FILENO);
        dup2(fd, STDOUT_FILENO);
        execve(program, arguments, environ);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}

static void worker_run(int listener, char *program)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (program)
            program_serve(fd, program);
        else
            echo_serve(fd);
        close(fd);
    }
}

int main(int argc, char **argv)
{
    long start = usec_now();
    int workers = argc > 1 ? atoi(argv[1]) : 0;
    int listener = argc > 2 ? atoi(argv[2]) : listener_open();
    atomic_int *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers < 1 || listener < 0 || ready == MAP_FAILED)
        return 2;
    for (int born = 0; born < workers || waitpid(-1, NULL, 0) > 0; born++) {
        if (fork() != 0)
            continue;
        if (atomic_fetch_add(ready, 1) == workers - 1)
            dprintf(1, "ready %d %ld\n", workers, usec_now() - start);
        worker_run(listener, argc > 3 ? argv[3] : NULL);
    }
    return 1;
}
