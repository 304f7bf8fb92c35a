"""Data sets: files, tasks and their splits.

tasks, folder_tasks     the tasks: arrays in memory, and folders of JPEG files
sources, files          where files are looked for, downloaded, and verified by checksum
debian, fetchers        fetchers: a Debian package, a download
idx, cifar, digits      file formats and the bundled set;  folders, encoded: images that stay JPEG files
arrays, cache           images and labels as read
resizing                tasks with images of another size
splits, stratify        train, validation and test
"""
