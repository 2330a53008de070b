#include "boards.h"

#include "../base/arena.h"
#include "../base/fd.h"
#include "../base/kernel.h"
#include "../board/overview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { QUESTIONS_PER_ROUND = 64 }; /* from one reporter, which must not keep us from other work */

int boards_open(struct boards *boards, struct loop *loop)
{
    *boards = (struct boards){.loop = loop, .overview_reader = -1};
    boards->overview = overview_open(&boards->overview_reader);
    return boards->overview ? 0 : -errno;
}

void boards_close(struct boards *boards)
{
    if (boards->overview)
        overview_close(boards->overview, boards->overview_reader);
    free(boards->list);
    *boards = (struct boards){.overview_reader = -1};
}

static struct board *board_at(const struct boards *boards, uint32_t number)
{
    return number < boards->room ? boards->list[number] : NULL;
}

static const struct scoreboard *board_map(void *owner, uint32_t number, uint64_t serial)
{
    const struct board *board = board_at(owner, number);
    return board && board->serial == serial ? board->map : NULL;
}

struct view boards_view(struct boards *boards)
{
    return (struct view){.overview = boards->overview, .board = board_map, .owner = boards};
}

/* Empties the eventfd, because a full one takes no further wake-up, and any worker of the pool can
 * fill it. The workers share its open file description and can clear O_NONBLOCK, so the read itself
 * must not block (RWF_NOWAIT, preadv2(2)). If the kernel can't do that for an eventfd, the count
 * stays, and each write still wakes us (EPOLLET). */
static void on_wakeup(void *owner)
{
    struct board *board = owner;
    uint64_t count;
    struct iovec part = {.iov_base = &count, .iov_len = sizeof count};
    ssize_t n = kernel_read_now(board->wakeup.fd, &part);
    (void)n;
    *board->changed = true;
}

/* The caller links it into the pool's list once it is complete. */
static struct board *board_new(struct resources *resources, struct boards *boards,
                               unsigned generation)
{
    uint32_t number = 0;
    while (board_at(boards, number))
        number++;
    if (!list_grow(&boards->list, &boards->room, number + 1, sizeof(struct board *)))
        return NULL;
    struct board *board = arena_unforked(sizeof *board); /* each fork writes to it */
    if (!board)
        return NULL;
    *board = (struct board){
        .next = resources->boards,
        .boards = boards,
        .number = number,
        .serial = ++boards->overview->serials,
        .generation = generation,
        .fd = -1,
        .reader_fd = -1,
        .wakeup = {.fd = -1, .ready = on_wakeup, .owner = board},
        .changed = &resources->changed,
    };
    boards->list[number] = board;
    return board;
}

/* Call when no worker has a slot in the board. */
static void board_free(struct board *board)
{
    if (board->wakeup.fd >= 0) {
        loop_remove(board->boards->loop, &board->wakeup);
        close(board->wakeup.fd);
    }
    scoreboard_unmap(board->map);
    fd_cleanup(&board->fd);
    fd_cleanup(&board->reader_fd);
    board->boards->list[board->number] = NULL;
    munmap(board, sizeof *board);
}

/* Takes over and watches an eventfd; -1: none. 0 or -errno. */
static int watch_wakeup(struct board *board, int fd)
{
    board->wakeup.fd = fd;
    int error = fd < 0 ? 0 : loop_add_edge(board->boards->loop, &board->wakeup);
    if (error)
        fd_cleanup(&board->wakeup.fd);
    return error;
}

/* 0 or -errno. */
static int make_memory(struct board *board)
{
    board->fd = scoreboard_create();
    if (board->fd < 0)
        return board->fd;
    board->map = scoreboard_map(board->fd, true);
    if (!board->map)
        return -errno;
    board->map->serial = board->serial;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : watch_wakeup(board, fd);
}

/* --- reporters -------------------------------------------------------------------------------- */

/* Returns the descriptor that goes with the answer, or -1. */
static int find_answer(struct boards *boards, uint32_t number, struct board_answer *answer)
{
    *answer = (struct board_answer){.number = number};
    if (number == BOARD_OVERVIEW) {
        answer->serial = overview_layout();
        return boards->overview->release[0] ? boards->overview_reader : -1;
    }
    struct board *board = board_at(boards, number);
    if (!board)
        return -1;
    if (board->reader_fd < 0 && board->fd >= 0)
        board->reader_fd = shm_reader(board->fd);
    answer->serial = board->serial;
    return board->reader_fd;
}

/* False if no question waits. A question can't pass us a descriptor. If the socket has no room for
 * the answer, drops the answer: the reporter asks again. */
static bool answer_one(struct reporter *reporter)
{
    struct board_question question;
    ssize_t n = fd_receive_foreign(reporter->watch.fd, &question, sizeof question, NULL);
    if (n <= 0)
        return false;
    if (n != sizeof question)
        return true;
    struct board_answer answer;
    int fd = find_answer(reporter->boards, question.number, &answer);
    fd_send(reporter->watch.fd, &answer, sizeof answer, &fd, fd >= 0);
    return true;
}

static void on_question(void *owner)
{
    struct reporter *reporter = owner;
    int count = 0;
    while (count < QUESTIONS_PER_ROUND && answer_one(reporter))
        count++;
    if (count == 0) /* the worker's end is closed: the worker is about to be reaped */
        loop_remove(reporter->boards->loop, &reporter->watch);
}

struct reporter *reporter_adopt(struct boards *boards, int fd)
{
    struct reporter *reporter = calloc(1, sizeof *reporter);
    int error = reporter ? 0 : ENOMEM;
    if (reporter) {
        *reporter = (struct reporter){.boards = boards,
                                      .watch = {.fd = fd, .ready = on_question, .owner = reporter}};
        error = -loop_add(boards->loop, &reporter->watch);
    }
    if (!error)
        return reporter;
    fd_close_foreign(fd);
    free(reporter);
    errno = error;
    return NULL;
}

struct reporter *reporter_open(struct boards *boards, int *fd)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return NULL;
    *fd = ends[1]; /* which the caller closes */
    return reporter_adopt(boards, ends[0]);
}

void reporter_close(struct reporter *reporter)
{
    if (!reporter)
        return;
    loop_remove(reporter->boards->loop, &reporter->watch);
    fd_close_foreign(reporter->watch.fd);
    free(reporter);
}

/* --- resources: what the workers of one pool share -------------------------------------------- */

void resources_init(struct resources *resources, int place)
{
    resources->place = place;
    resources->limits_fd = -1;
    resources_ask_wakeup(resources); /* an upgrade forgets which pools had to look */
    resources->rate.changed = &resources->changed;
}

void resources_free(struct resources *resources)
{
    while (resources->boards) {
        struct board *next = resources->boards->next;
        board_free(resources->boards);
        resources->boards = next;
    }
    limits_close(resources->limits, resources->limits_fd);
}

struct board *resources_find_board(const struct resources *resources, unsigned generation)
{
    struct board *board = resources->boards;
    while (board && board->generation != generation)
        board = board->next;
    return board;
}

struct board *resources_board(struct resources *resources, struct boards *boards,
                              unsigned generation)
{
    struct board *board = resources_find_board(resources, generation);
    if (board)
        return board;
    board = board_new(resources, boards, generation);
    if (!board)
        return NULL;
    int error = make_memory(board);
    if (error) {
        board_free(board);
        errno = -error;
        return NULL;
    }
    resources->boards = board;
    return board;
}

struct board *resources_adopt_board(struct resources *resources, struct boards *boards,
                                    unsigned generation, int fd, int wakeup_fd, bool same_layout)
{
    struct board *board = board_new(resources, boards, generation);
    if (!board)
        return NULL;
    board->map = same_layout && fd >= 0 ? scoreboard_map(fd, true) : NULL;
    if (board->map) {
        board->fd = fd;
        board->map->serial = board->serial;
        board->end = SCOREBOARD_SLOTS; /* we don't know which slots were taken before */
    } else {
        fd_cleanup(&fd);
        board->map = arena_unforked(sizeof(struct scoreboard)); /* private */
    }
    watch_wakeup(board, wakeup_fd);
    if (!board->map) {
        board_free(board);
        errno = ENOMEM;
        return NULL;
    }
    resources->boards = board;
    return board;
}

static bool is_taken(const struct resources *resources, uint32_t seat)
{
    return resources->seats[seat / 64] >> seat % 64 & 1;
}

/* Any worker could write anything into the limits. After the last worker of a generation has ended,
 * clears the notes of free seats, and recounts the counters from the remaining notes. */
static void clear_limits(const struct resources *resources)
{
    if (!resources->limits)
        return;
    for (uint32_t seat = 0; seat < resources->seats_end; seat++)
        if (!is_taken(resources, seat))
            resources->limits->notes[seat] = 0;
    source_limits_recount(resources->limits, resources->seats_end);
}

void resources_sweep(struct resources *resources)
{
    struct board **at = &resources->boards;
    while (*at) {
        struct board *board = *at;
        if (board->workers) {
            at = &board->next;
            continue;
        }
        *at = board->next;
        board_free(board);
        clear_limits(resources);
    }
}

static void take(struct resources *resources, uint32_t seat, uint32_t count)
{
    for (uint32_t i = seat; i < seat + count; i++)
        resources->seats[i / 64] |= (uint64_t)1 << i % 64;
}

int resources_take_seats(struct resources *resources, uint32_t count)
{
    uint32_t free = 0; /* consecutive free seats, up to this one */
    for (uint32_t seat = 0; seat < SCOREBOARD_SLOTS; seat++) {
        if (seat % 64 == 0 && resources->seats[seat / 64] == UINT64_MAX) {
            free = 0;
            seat += 63;
            continue;
        }
        free = is_taken(resources, seat) ? 0 : free + 1;
        if (free < count)
            continue;
        take(resources, seat + 1 - count, count);
        return (int)(seat + 1 - count);
    }
    return -1;
}

bool resources_take_these_seats(struct resources *resources, uint32_t seat, uint32_t count)
{
    if (count == 0 || seat >= SCOREBOARD_SLOTS || count > SCOREBOARD_SLOTS - seat)
        return false;
    for (uint32_t i = seat; i < seat + count; i++)
        if (is_taken(resources, i))
            return false;
    take(resources, seat, count);
    return true;
}

void resources_give_seats(struct resources *resources, uint32_t seat, uint32_t count)
{
    for (uint32_t i = seat; i < seat + count; i++)
        resources->seats[i / 64] &= ~((uint64_t)1 << i % 64);
}

void resources_extend(struct resources *resources, struct board *board, uint32_t end)
{
    if (resources->seats_end < end)
        resources->seats_end = end;
    if (board->end < end)
        board->end = end;
    if (board->map->end < end)
        board->map->end = end;
}

int resources_open_limits(struct resources *resources, const struct pool_config *conf)
{
    bool wanted = conf->max_per_source || conf->rate_per_source;
    if (!wanted || resources->limits)
        return 0;
    resources->limits = limits_open(&resources->limits_fd);
    return resources->limits ? 0 : -errno;
}
