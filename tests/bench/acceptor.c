/*
 * A server that accepts by itself: what app and its floor run. It echoes, as the floor's own
 * workers do, but over descriptor 0, which is the listener.
 *
 * usage: acceptor [N LISTENER], to fork N of itself, and again for each that dies: the floor, which
 * says "ready" then. Without it, one process serves. It is linked statically, for the less there is
 * of it, the more a difference would show.
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

/* Each executes the program anew, as a worker of app is it anew. */
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
