/* Runs the fuzz target over the files of a directory: the corpus, in builds without libFuzzer. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int run_file(const char *directory, const char *name)
{
    static unsigned char bytes[1024 * 1024];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        perror(path);
        return EXIT_FAILURE;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return LLVMFuzzerTestOneInput(bytes, size);
}

int main(int argc, char **argv)
{
    int failed = argc == 2 ? 0 : 1, count = 0;
    DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
    if (!directory) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (struct dirent *entry; (entry = readdir(directory)); count++)
        if (entry->d_name[0] != '.')
            failed |= run_file(argv[1], entry->d_name);
    closedir(directory);
    return failed || count == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
