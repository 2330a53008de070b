/* Prints what a running daemon's overview and scoreboards say, like preforkctl: board PID
 * status|status-json|deaths|deaths-json [later]. They are mapped read-only, as in a status worker.
 * "later" reads them when standard input ends, like a worker that mapped them before an upgrade. */
#include "../../src/ctl/report.h"
#include "../../src/reports/snapshot.h"
#include "../../src/reports/status.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BOARDS_MOST = 4096 };

/* The scoreboards with the serial that each had when it was mapped, as a status worker keeps it: an
 * upgrade gives a scoreboard a new one. */
static struct {
    const struct scoreboard *map;
    uint64_t serial;
} boards[BOARDS_MOST];
static int board_count;

static const struct scoreboard *find(void *owner, uint32_t number, uint64_t serial)
{
    (void)owner;
    (void)number;
    for (int i = 0; i < board_count; i++)
        if (boards[i].serial == serial)
            return boards[i].map;
    return NULL;
}

static void look_at(const char *name, struct view *view)
{
    char target[64];
    ssize_t length = readlink(name, target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    bool is_overview = strncmp(target, "/memfd:preforkd-overview", 24) == 0;
    bool is_board = strncmp(target, "/memfd:preforkd-scoreboard", 26) == 0;
    int fd = is_overview || is_board ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    if (is_overview)
        view->overview = overview_map(fd);
    else if (board_count < BOARDS_MOST && (boards[board_count].map = scoreboard_map(fd, false))) {
        boards[board_count].serial = boards[board_count].map->serial;
        board_count++;
    }
    close(fd);
}

static struct view look(const char *pid)
{
    char path[64], name[400];
    struct view view = {.board = find};
    board_count = 0;
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        look_at(name, &view);
    }
    if (folder)
        closedir(folder);
    return view;
}

static char *report(const struct view *view, const char *word)
{
    static struct procstat figures = {.processes = true};
    bool shown = strcmp(word, "status") == 0 || strcmp(word, "deaths") == 0;
    procstat_look(&figures, view, clock_now());
    char *json = strncmp(word, "status", 6) == 0
                     ? status_json(view, &figures, STATUS_WHOLE, clock_now())
                     : deaths_json(view->overview);
    if (!json || !shown)
        return json;
    char *text = report_show(json, strlen(json), &(struct view_options){0});
    free(json);
    return text;
}

/* Whether overview and scoreboards belong together. During an upgrade they may not; one that is
 * being filled has no release yet. */
static bool is_whole(const struct view *view)
{
    const struct overview *overview = view->overview;
    if (!overview || !overview->release[0])
        return false;
    for (int i = 0; i < snapshot_workers(overview); i++)
        if (overview->workers[i].state != SLOT_FREE &&
            !view->board(NULL, 0, overview->workers[i].serial))
            return false;
    return true;
}

int main(int argc, char **argv)
{
    struct view view = {0};
    for (int i = 0; argc >= 3 && i < 1000 && !is_whole(&view); i++) {
        if (i)
            poll(NULL, 0, 5);
        view = look(argv[1]);
    }
    if (!view.overview) {
        fprintf(stderr, "board: no overview is found\n");
        return 1;
    }
    if (argc > 3) {
        puts("mapped");
        fflush(stdout);
        while (getchar() != EOF)
            continue;
    }
    char *text = report(&view, argv[2]);
    fputs(text ? text : "nothing\n", stdout);
    free(text);
    return text ? 0 : 1;
}
