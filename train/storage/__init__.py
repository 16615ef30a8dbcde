"""Files in object storage (``s3://``, ``obs://``) and on the disk: data sets in, results out.

What the rest builds on::

    address           what an address looks like
    connection        endpoint, region and keys of a bucket, from environment variables
    settings          the section ``storage`` of a configuration
    stores            a folder or a bucket as a tree of files: list, read, write, remove
    retry             trying again with growing pauses, and the errors in the end
    digests           SHA-256 of files: which are expected, which were verified
    locks             locks between the processes of a node

Copies::

    copier            a whole tree: what is missing there, verified and resumed where it broke off

Data sets of a run, in::

    dataset_staging   one process of a node copies, the others wait
    dataset_cache     the copies on a node: users, size, eviction

The run folder, in and out::

    run_download      the newest whole checkpoint, to resume from
    run_mirror        what has changed since the last pass, in which order it is sent, and its names
    run_upload        the thread that makes these passes while the run trains

Files and folders whose name begins with a dot do not count: this project names what is not whole
yet like that. s3fs is not imported before a bucket is really used.
"""
