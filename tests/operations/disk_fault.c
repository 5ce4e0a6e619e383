/* Loaded before a program (LD_PRELOAD), makes the disk of the folder DISK_FAULT_FOLDER slow or failing, as the file
   DISK_FAULT_FILE says: empty, "fail", or the milliseconds that each write takes. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* What the file says: 0 for nothing, -1 for a failure, otherwise milliseconds. */
static long fault(void) {
    const char *path = getenv("DISK_FAULT_FILE");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    char text[32] = {0};
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    return strcmp(text, "fail") == 0 ? -1 : strtol(text, NULL, 10);
}

static int is_in_folder(int file) {
    const char *folder = getenv("DISK_FAULT_FOLDER");
    char link[64], target[4096] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return folder && readlink(link, target, sizeof target - 1) > 0 && strncmp(target, folder, strlen(folder)) == 0;
}

ssize_t write(int file, const void *bytes, size_t count) {
    int before = errno;
    long milliseconds = fault();
    if (milliseconds && is_in_folder(file)) {
        if (milliseconds < 0) {
            errno = EIO;
            return -1;
        }
        struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    errno = before;
    return syscall(SYS_write, file, bytes, count);
}
