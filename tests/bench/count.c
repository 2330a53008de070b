/*
 * count - what counting costs, in nanoseconds per connection: a serve with the figures that it adds
 * to its slot, and one without; and the question about the wait, which one in 32 pays. Each is the
 * median of rounds in turn.
 *
 * usage: count [ROUNDS [CALLS]]
 */
#include "../../src/board/scoreboard.h"
#include "../../src/conn/conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KINDS = 3, ROUNDS_MAX = 1000, SAMPLE = 32 };
enum kind { OFF, ON, ASKED };

static struct scoreboard *board;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* An accepted connection, to be asked about. */
static int connect_pair(int *client)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    *client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0 ||
        connect(*client, (struct sockaddr *)&address, sizeof address) != 0)
        return -1;
    int taken = accept(listener, NULL, NULL);
    close(listener);
    return taken;
}

/* The two counters that existed before, and all of today. */
static double measure(enum kind kind, struct conn *conn, int calls)
{
    struct slot *slot = &board->slots[0];
    double began = now();
    for (int i = 0; i < calls; i++) {
        histogram_grow(&slot->accepted, 1);
        atomic_thread_fence(memory_order_seq_cst); /* the wakeup's */
        if (kind == ASKED && i % SAMPLE == 0)
            histogram_count(&slot->wait, conn_waited(conn), SAMPLE);
        if (kind != OFF) {
            histogram_count(&slot->service, 20 + i % 200, 1);
            histogram_grow(&slot->bytes_in, conn->in);
            histogram_grow(&slot->bytes_out, conn->out);
        }
        histogram_grow(&slot->served, 1);
    }
    return (now() - began) / calls;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    static const char *const words[KINDS] = {"no figures", "figures", "and the wait, 1 in 32"};
    static double took[KINDS][ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 20, calls = argc > 2 ? atoi(argv[2]) : 1000000;
    int client, fd = scoreboard_create();
    struct conn conn = {
        .fd = connect_pair(&client), .peer.sa.sa_family = AF_INET, .in = 5, .out = 5};
    board = scoreboard_map(fd, true);
    if (conn.fd < 0 || !board || rounds < 1 || rounds > ROUNDS_MAX || calls < 1)
        return EXIT_FAILURE;
    for (int round = 0; round < rounds; round++)
        for (int kind = 0; kind < KINDS; kind++)
            took[kind][round] = measure((enum kind)kind, &conn, calls);
    for (int kind = 0; kind < KINDS; kind++) {
        qsort(took[kind], (size_t)rounds, sizeof(double), compare);
        double median = took[kind][rounds / 2];
        printf("%-22s %6.1f ns, above none %6.1f (%.1f to %.1f)\n", words[kind], median,
               median - took[0][rounds / 2], took[kind][0], took[kind][rounds - 1]);
    }
    return EXIT_SUCCESS;
}
