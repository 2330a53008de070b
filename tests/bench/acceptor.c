/*
 * A server that accepts by itself, run by app and by its floor. It echoes, like the floor's own
 * workers, but from descriptor 0, which is the listener.
 *
 * usage: acceptor [N LISTENER], to fork N copies, and again for each that dies: the floor, which
 * then says "ready". Without arguments, one process serves. It is linked statically: the smaller it
 * is, the more visible a difference is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void serve(void)
{
    char buffer[4096];
    ssize_t n;
    for (;;) {
        int fd = accept4(STDIN_FILENO, NULL, NULL, SOCK_CLOEXEC);
        while (fd >= 0 && (n = recv(fd, buffer, sizeof buffer, 0)) > 0)
            if (send(fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
                break;
        close(fd);
    }
}

/* Each child executes the program again, as app does. */
int main(int argc, char **argv)
{
    char *alone[] = {argv[0], NULL};
    if (argc < 3)
        serve();
    dup2(atoi(argv[2]), STDIN_FILENO);
    for (int born = 0, count = atoi(argv[1]); born < count || wait(NULL) > 0; born++) {
        if (fork() == 0) {
            execv(argv[0], alone);
            _exit(1);
        }
        if (born == count - 1 && dprintf(STDOUT_FILENO, "ready %d\n", count) < 0)
            return 1;
    }
    return 1;
}
