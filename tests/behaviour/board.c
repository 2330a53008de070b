/* Prints what a running daemon's scoreboard says: board PID status|status-json|deaths|deaths-json.
 * The scoreboard is mapped for reading alone, as a status worker would. */
#include "../../src/shared/status.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int open_board(const char *pid)
{
    char path[64], name[400], target[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *folder = opendir(path);
    struct dirent *entry;
    int fd = -1;
    while (folder && fd < 0 && (entry = readdir(folder))) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        ssize_t length = readlink(name, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        if (strncmp(target, "/memfd:preforkd-scoreboard", 26) == 0)
            fd = open(name, O_RDONLY | O_CLOEXEC);
    }
    if (folder)
        closedir(folder);
    return fd;
}

static char *report(const struct scoreboard *board, const char *word)
{
    static struct figures figures = {.processes = true};
    figures_look(&figures, board, clock_now());
    if (strcmp(word, "status") == 0)
        return status_text(board, &figures, STATUS_PLAIN, clock_now());
    if (strcmp(word, "status-json") == 0)
        return status_json(board, &figures, clock_now());
    if (strcmp(word, "deaths") == 0)
        return deaths_text(board);
    return deaths_json(board);
}

int main(int argc, char **argv)
{
    int fd = argc == 3 ? open_board(argv[1]) : -1;
    const struct scoreboard *board =
        mmap(NULL, sizeof *board, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (board == MAP_FAILED) {
        perror("board");
        return 1;
    }
    char *text = report(board, argv[2]);
    fputs(text ? text : "nothing\n", stdout);
    free(text);
    return text ? 0 : 1;
}
