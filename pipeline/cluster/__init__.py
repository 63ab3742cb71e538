"""The Ray cluster that a run works on.

Starting or joining it: ray_session, ray_start, ray_address. Whether it lives: ray_watch, ray_looks.
Sending it a job: job_request, job_server. Who may use it: access, job_server_access.
What is left behind: session_folder, cleanup_process.
"""
