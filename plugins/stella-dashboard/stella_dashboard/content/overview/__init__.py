"""Project panel "Service Levels Overview": are they kept?"""
