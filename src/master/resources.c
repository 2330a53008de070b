#include "resources.h"

#include <errno.h>

void resources_init(struct resources *resources, int place)
{
    resources->place = place;
    resources->limits_fd = -1;
    resources->changed = true;
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
    process_groups_free(&resources->groups);
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
    board = board_new(boards, generation, &resources->changed);
    if (board) {
        board->next = resources->boards;
        resources->boards = board;
    }
    return board;
}

/* Any worker of a generation could write all of the limits. Once the last one is gone, what nobody
 * holds is made nobody's; those who are there write their own with each connection. */
static void clear_limits(const struct resources *resources)
{
    for (uint32_t seat = 0; resources->limits && seat < resources->seats_end; seat++)
        if (!(resources->seats[seat / 64] >> seat % 64 & 1))
            source_limits_forget(resources->limits, seat);
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

int resources_take_seat(struct resources *resources)
{
    for (int i = 0; i < SCOREBOARD_SLOTS / 64; i++) {
        if (resources->seats[i] == UINT64_MAX)
            continue;
        int bit = __builtin_ctzll(~resources->seats[i]);
        resources->seats[i] |= (uint64_t)1 << bit;
        return i * 64 + bit;
    }
    return -1;
}

bool resources_take_this_seat(struct resources *resources, uint32_t seat)
{
    uint64_t bit = (uint64_t)1 << seat % 64, *word = &resources->seats[seat / 64];
    bool is_free = !(*word & bit);
    *word |= bit;
    return is_free;
}

void resources_give_seat(struct resources *resources, uint32_t seat)
{
    resources->seats[seat / 64] &= ~((uint64_t)1 << seat % 64);
}

void resources_extend(struct resources *resources, struct board *board, uint32_t seat)
{
    if (resources->seats_end <= seat)
        resources->seats_end = seat + 1;
    if (board->map->end <= seat)
        board->map->end = seat + 1;
    if (resources->limits)
        resources->limits->end = resources->seats_end;
}

int resources_open_limits(struct resources *resources, const struct pool_config *conf)
{
    bool wanted = conf->max_per_source || conf->rate_per_source;
    if (!wanted || resources->limits)
        return 0;
    resources->limits = limits_open(&resources->limits_fd);
    return resources->limits ? 0 : -errno;
}
