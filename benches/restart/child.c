/* The child every supervisor keeps in this comparison: says when it was executed, then waits to be killed.
 *
 * Appends one line "NANOSECONDS PID" to the file named by STAMP_FILE; nanoseconds of CLOCK_BOOTTIME, read as the first
 * thing in main. Linked statically, so that no dynamic loader is in the figure. Takes no arguments, so that runsv, which
 * gives none, can execute it without a shell in between.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);

    const char *path = getenv("STAMP_FILE");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
    char line[64];
    int length = snprintf(line, sizeof line, "%lld %d\n",
                          (long long)now.tv_sec * 1000000000LL + now.tv_nsec, (int)getpid());
    if (file < 0 || write(file, line, (size_t)length) != length) {
        perror("STAMP_FILE");
        return 1;
    }
    close(file);
    for (;;) pause();
}
