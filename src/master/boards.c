#include "boards.h"

#include "../base/arena.h"
#include "../base/fd.h"
#include "../base/shm.h"
#include "../board/board_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { QUESTIONS_AT_ONCE = 64 }; /* a round, of one reporter: it must not keep us from others */

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

/* Empties the eventfd, so that its next ring is heard too: it takes no more once it is full, and any
 * worker of the pool can fill it. Workers share its description and can clear O_NONBLOCK, so the read
 * itself says that it must not block (RWF_NOWAIT, preadv2(2)). Where a kernel can't do that for an
 * eventfd, it is left as it is: a ring is heard whenever it is written to (EPOLLET). */
static void rung(void *owner)
{
    struct board *board = owner;
    uint64_t rings;
    struct iovec part = {.iov_base = &rings, .iov_len = sizeof rings};
    ssize_t n = preadv2(board->wakeup.fd, &part, 1, -1, RWF_NOWAIT);
    (void)n;
    *board->changed = true;
}

/* A number that is free, with room for it. -1: no memory. */
static int free_number(struct boards *boards)
{
    uint32_t number = 0;
    while (number < boards->room && boards->list[number])
        number++;
    if (number < boards->room)
        return (int)number;
    uint32_t room = boards->room ? 2 * boards->room : 16;
    struct board **list = realloc(boards->list, room * sizeof(struct board *));
    if (!list)
        return -1;
    memset(list + boards->room, 0, (room - boards->room) * sizeof(struct board *));
    boards->list = list;
    boards->room = room;
    return (int)number;
}

static struct board *add(struct boards *boards, unsigned generation, bool *changed)
{
    struct board *board = calloc(1, sizeof *board);
    int number = board ? free_number(boards) : -1;
    if (number < 0) {
        free(board);
        errno = ENOMEM;
        return NULL;
    }
    *board = (struct board){
        .boards = boards,
        .number = (uint32_t)number,
        .serial = ++boards->overview->serials,
        .generation = generation,
        .fd = -1,
        .reader_fd = -1,
        .wakeup = {.fd = -1, .ready = rung, .owner = board},
        .changed = changed,
    };
    boards->list[number] = board;
    return board;
}

void board_free(struct board *board)
{
    if (board->wakeup.fd >= 0) {
        loop_remove(board->boards->loop, &board->wakeup);
        close(board->wakeup.fd);
    }
    scoreboard_unmap(board->map);
    fd_cleanup(&board->fd);
    fd_cleanup(&board->reader_fd);
    board->boards->list[board->number] = NULL;
    free(board);
}

/* 0 or -errno. */
static int make(struct board *board)
{
    board->fd = scoreboard_create();
    if (board->fd < 0)
        return board->fd;
    board->map = scoreboard_map(board->fd, true);
    if (!board->map)
        return -errno;
    board->map->serial = board->serial;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    board->wakeup.fd = fd;
    int error = loop_add_edge(board->boards->loop, &board->wakeup);
    if (error) {
        close(fd);
        board->wakeup.fd = -1;
    }
    return error;
}

struct board *board_new(struct boards *boards, unsigned generation, bool *changed)
{
    struct board *board = add(boards, generation, changed);
    int error = board ? make(board) : -errno;
    if (error == 0)
        return board;
    if (board)
        board_free(board);
    errno = -error;
    return NULL;
}

/* Memory of our own. */
static struct scoreboard *stand_in(void)
{
    return arena_unforked(sizeof(struct scoreboard));
}

struct board *board_adopt(struct boards *boards, unsigned generation, bool *changed, int fd,
                          int wakeup_fd, bool same_layout)
{
    struct board *board = add(boards, generation, changed);
    if (!board)
        return NULL;
    if (same_layout && fd >= 0)
        board->map = scoreboard_map(fd, true);
    if (board->map) {
        board->fd = fd;
        board->map->serial = board->serial;
    }
    if (!board->map && fd >= 0)
        close(fd);
    if (!board->map)
        board->map = stand_in();
    board->wakeup.fd = wakeup_fd;
    if (wakeup_fd >= 0 && loop_add_edge(boards->loop, &board->wakeup) != 0) {
        close(wakeup_fd);
        board->wakeup.fd = -1;
    }
    if (board->map)
        return board;
    board_free(board);
    errno = ENOMEM;
    return NULL;
}

/* Reporters. */

/* The descriptor that reporters get of one, or -1: of one that stands in there is none. */
static int reader_of(struct board *board)
{
    if (board->reader_fd < 0 && board->fd >= 0)
        board->reader_fd = shm_reader(board->fd);
    return board->reader_fd < 0 ? -1 : board->reader_fd;
}

/* What doesn't go now, never goes: the reporter asks again. */
static void answer(int socket, const struct board_answer *answer, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } beside = {.bytes = {0}};
    struct iovec part = {.iov_base = (void *)answer, .iov_len = sizeof *answer};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &beside;
        message.msg_controllen = sizeof beside;
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        *rights = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* False where there is no question. A descriptor that comes with one is closed by the kernel, since
 * there is no room for it. */
static bool answer_one(struct reporter *reporter)
{
    struct boards *boards = reporter->boards;
    struct board_question question;
    ssize_t n = recv(reporter->watch.fd, &question, sizeof question, MSG_DONTWAIT);
    if (n <= 0)
        return false;
    if (n != sizeof question)
        return true;
    struct board *board = question.number < boards->room ? boards->list[question.number] : NULL;
    int fd = board ? reader_of(board) : -1;
    const struct board_answer found = {.number = question.number,
                                       .serial = board ? board->serial : 0};
    answer(reporter->watch.fd, &found, fd);
    return true;
}

static void asked(void *owner)
{
    struct reporter *reporter = owner;
    int count = 0;
    while (count < QUESTIONS_AT_ONCE && answer_one(reporter))
        count++;
    if (count == 0) /* its end is closed: it is about to be reaped, and asks for nothing more */
        loop_remove(reporter->boards->loop, &reporter->watch);
}

struct reporter *reporter_open(struct boards *boards, int *fd)
{
    int ends[2];
    struct reporter *reporter = calloc(1, sizeof *reporter);
    if (!reporter)
        return NULL;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(reporter);
        return NULL;
    }
    *reporter = (struct reporter){.boards = boards,
                                  .watch = {.fd = ends[0], .ready = asked, .owner = reporter}};
    int error = loop_add(boards->loop, &reporter->watch);
    *fd = ends[1];
    if (error == 0)
        return reporter;
    close(ends[0]);
    close(ends[1]);
    free(reporter);
    errno = -error;
    return NULL;
}

void reporter_close(struct reporter *reporter)
{
    if (!reporter)
        return;
    loop_remove(reporter->boards->loop, &reporter->watch);
    close(reporter->watch.fd);
    free(reporter);
}

static const struct scoreboard *find(void *owner, uint32_t number, uint64_t serial)
{
    const struct boards *boards = owner;
    const struct board *board = number < boards->room ? boards->list[number] : NULL;
    return board && board->serial == serial ? board->map : NULL;
}

struct view boards_view(struct boards *boards)
{
    return (struct view){.overview = boards->overview, .board = find, .owner = boards};
}
