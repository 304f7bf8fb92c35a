"""FFCV: its files are written before training and read by its pipelines.

beton                       the cache of files: location, checks, rewriting
beton_writer, packing       writes one file in a separate process; how images are stored
beton_file, sample_check    reads a file's tables; checks image files before packing
decode, pipeline, loader    from the file to batches
"""
