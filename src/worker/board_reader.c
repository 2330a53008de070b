#include "board_reader.h"

#include "../base/arena.h"
#include "../base/clock.h"
#include "../base/fd.h"
#include "../board/overview.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long to wait for the master's answer, and how long not to ask again after none came. The
 * master may be stopped, and reports must work all the same. */
#define TIMEOUT (USEC_SECOND / 2)
#define SILENCE (5 * USEC_SECOND)

enum { NUMBERS_MOST = SCOREBOARD_SLOTS }; /* each numbered scoreboard has a slot at least */

struct mapped {
    uint64_t serial;
    const struct scoreboard *board;
};

static struct reader {
    struct view view;
    int fd;
    struct mapped *list; /* by number */
    uint32_t room;
    usec silent_until;
} reader;

/* Receives one datagram from the master, and its descriptor, or -1. False if none came in time. A
 * signal says nothing of the master. */
static bool receive(struct board_answer *answer, int *fd, usec deadline)
{
    struct pollfd input = {.fd = reader.fd, .events = POLLIN};
    int n;
    do {
        usec left = deadline - clock_now();
        n = left > 0 ? poll(&input, 1, (int)(left / 1000) + 1) : 0;
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    return fd_receive(reader.fd, answer, sizeof *answer, fd, 1) == sizeof *answer;
}

static void forget_boards(void)
{
    for (uint32_t i = 0; i < reader.room; i++) {
        scoreboard_unmap((struct scoreboard *)reader.list[i].board);
        reader.list[i] = (struct mapped){0};
    }
}

/* Replaces the overview. Its scoreboards have numbers of their own. */
static void take_overview(const struct board_answer *answer, int fd)
{
    bool same = answer->serial == overview_layout();
    const struct overview *overview = same && fd >= 0 ? overview_map(fd) : NULL;
    if (same && fd < 0)
        return; /* it is not filled yet */
    if (!overview) {
        reader.silent_until = clock_now() + SILENCE;
        return;
    }
    forget_boards();
    overview_unmap(reader.view.overview);
    reader.view.overview = overview;
}

/* Another binary gives out numbers and serials of its own, and its scoreboards may have another
 * layout: its answer is not taken for one to an earlier question. */
static void take_board(const struct board_answer *answer, int fd)
{
    if (answer->number >= reader.room || reader.view.overview->handed_on)
        return;
    struct mapped *mapped = &reader.list[answer->number];
    scoreboard_unmap((struct scoreboard *)mapped->board);
    *mapped = (struct mapped){.serial = answer->serial,
                              .board = fd < 0 ? NULL : scoreboard_map(fd, false)};
}

/* Asks the master for a scoreboard, or for the overview. A late answer to an earlier question is
 * taken as well, but not an overview: a report that asks for a scoreboard is reading the old one.
 */
static void fetch(uint32_t number)
{
    const struct board_question question = {.number = number};
    struct board_answer answer;
    usec deadline = clock_now() + TIMEOUT;
    int fd;
    if (send(reader.fd, &question, sizeof question, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        reader.silent_until = clock_now() + SILENCE;
        return;
    }
    do {
        if (!receive(&answer, &fd, deadline)) {
            reader.silent_until = clock_now() + SILENCE;
            return;
        }
        if (answer.number != BOARD_OVERVIEW)
            take_board(&answer, fd);
        else if (number == BOARD_OVERVIEW)
            take_overview(&answer, fd);
        if (fd >= 0)
            close(fd);
    } while (answer.number != number);
}

static const struct scoreboard *find(void *owner, uint32_t number, uint64_t serial)
{
    (void)owner;
    if (number >= NUMBERS_MOST ||
        !list_grow(&reader.list, &reader.room, number + 1, sizeof *reader.list))
        return NULL;
    if (reader.list[number].serial != serial && clock_now() >= reader.silent_until &&
        !reader.view.overview->handed_on)
        fetch(number);
    return reader.list[number].serial == serial ? reader.list[number].board : NULL;
}

void board_reader_renew(void)
{
    if (reader.view.overview->handed_on && clock_now() >= reader.silent_until)
        fetch(BOARD_OVERVIEW);
}

const struct view *board_reader_open(int overview_fd, int boards_fd)
{
    reader = (struct reader){.view = {.overview = overview_map(overview_fd), .board = find},
                             .fd = boards_fd};
    return reader.view.overview ? &reader.view : NULL;
}
