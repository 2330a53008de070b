#include "oom.h"

#include <stdio.h>
#include <string.h>

/* Two that were killed together are reaped together, or nearly so. */
#define CLAIM_PATIENCE (USEC_SECOND / 10)

/* The count; -1 where it can't be read. */
static long long read_count(const char *path)
{
    char word[64];
    long long number, count = -1;
    FILE *file = path[0] ? fopen(path, "re") : NULL;
    if (!file)
        return -1;
    while (count < 0 && fscanf(file, "%63s %lld", word, &number) == 2)
        if (strcmp(word, "oom_kill") == 0)
            count = number;
    fclose(file);
    return count;
}

/* The line of version 2 is "0::/PATH" (cgroups(7)). */
static void find_path(struct oom *oom, const char *own, const char *mounted)
{
    char line[OOM_PATH];
    FILE *file = fopen(own, "re");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) != 0)
            continue;
        int n = snprintf(oom->path, sizeof oom->path, "%s%s/memory.events", mounted, line + 3);
        if (n >= (int)sizeof oom->path)
            oom->path[0] = '\0';
    }
    if (file)
        fclose(file);
}

void oom_open(struct oom *oom, const char *own, const char *mounted)
{
    *oom = (struct oom){0};
    find_path(oom, own, mounted);
    oom->seen = read_count(oom->path);
}

bool oom_claim(struct oom *oom, usec now)
{
    long long count = read_count(oom->path);
    if (now >= oom->until)
        oom->unclaimed = 0;
    if (count > oom->seen && oom->seen >= 0) {
        oom->unclaimed += count - oom->seen;
        oom->until = now + CLAIM_PATIENCE;
    }
    oom->seen = count;
    if (oom->unclaimed == 0)
        return false;
    oom->unclaimed--;
    return true;
}
