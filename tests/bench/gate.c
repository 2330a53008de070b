/*
 * gate - what access control costs, in nanoseconds per connection: unset, with a list of 1000
 * blocks, with limits per source; each is the median of rounds in turn.
 *
 * usage: gate [ROUNDS [CALLS]]
 */
#include "../../src/board/source_limits.h"
#include "../../src/config/access_list.h"
#include "../../src/worker/serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS = 1000, PEERS = 4096, ROUNDS_MAX = 1000 };

static struct addr peers[PEERS];
static struct scoreboard *board;
static struct limits *limits;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint32_t any(void)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Blocks of /8 to /32, and the rest of all addresses: nobody is refused, because a refusal logs a
 * line. */
static const struct cidr_list *make_list(struct arena *arena)
{
    static struct block list[BLOCKS + 1];
    for (int i = 0; i < BLOCKS; i++) {
        int bits = 8 + (int)(any() % 25);
        struct addr_number number = {.low = any(), .family = AF_INET};
        list[i] = (struct block){addr_mask(number, bits), bits, CIDR_ALLOW};
    }
    for (int i = 0; i < PEERS; i++) {
        uint32_t ip = htonl((uint32_t)list[any() % BLOCKS].first.low | (any() & 0xff));
        addr_from_bytes(&peers[i], AF_INET, (const uint8_t *)&ip, 1024 + any() % 60000);
    }
    list[BLOCKS] = (struct block){.first.family = AF_INET, .verdict = CIDR_ALLOW};
    return cidr_make(arena, list, BLOCKS + 1);
}

/* What serve does for a connection besides serving it. The peer is copied as accept() would. */
static double measure(struct access *volatile access, int calls)
{
    struct conn conn = {.fd = -1};
    long admitted = 0;
    double began = now();
    for (int i = 0; i < calls; i++) {
        conn.peer = peers[i % PEERS];
        struct access *ours = access;
        admitted += !ours || access_admit(ours, &conn) == REFUSALS;
        if (ours)
            access_leave(ours);
    }
    double took = now() - began;
    if (admitted != calls) {
        fprintf(stderr, "gate: %ld of %d admitted\n", admitted, calls);
        exit(EXIT_FAILURE);
    }
    return took / calls;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static struct access *open_kind(int kind, const struct cidr_list *list)
{
    static struct access access;
    static struct pool_config pools[4] = {
        {.name = "unset"}, {.name = "list"}, {.name = "max"}, {.name = "rate"}};
    pools[1].admitted = list;
    pools[2].max_per_source = 1;
    pools[3].rate_per_source = 100000;
    return access_open(&access, &pools[kind], board, kind < 2 ? NULL : limits, 0, false, false);
}

int main(int argc, char **argv)
{
    static const char *const words[] = {"unset", "allow, 1000 blocks", "max_per_source",
                                        "rate_per_source"};
    static double took[4][ROUNDS_MAX];
    int rounds = argc > 1 ? atoi(argv[1]) : 20, calls = argc > 2 ? atoi(argv[2]) : 200000;
    int limits_fd, fd = scoreboard_create();
    struct arena *arena = arena_open(1024 * 1024);
    board = scoreboard_map(fd, true);
    limits = limits_open(&limits_fd);
    if (!arena || !board || !limits || rounds < 1 || rounds > ROUNDS_MAX || calls < 1)
        return EXIT_FAILURE;
    const struct cidr_list *list = make_list(arena);
    for (int round = 0; round < rounds; round++)
        for (int kind = 0; kind < 4; kind++)
            took[kind][round] = measure(open_kind(kind, list), calls);
    for (int kind = 0; kind < 4; kind++) {
        qsort(took[kind], (size_t)rounds, sizeof(double), compare);
        printf("%-28s %7.1f ns, above unset %7.1f (%.1f to %.1f)\n", words[kind],
               took[kind][rounds / 2], took[kind][rounds / 2] - took[0][rounds / 2], took[kind][0],
               took[kind][rounds - 1]);
    }
    return EXIT_SUCCESS;
}
